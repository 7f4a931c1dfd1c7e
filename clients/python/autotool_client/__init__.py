"""A thin layer over the official `openai` client: `mode=` and the decision record."""
