"""ACEBench (arXiv 2501.12851), English: its prompts and its rules, adapted to native tool calling."""
