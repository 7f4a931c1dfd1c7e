"""OpenAI's Decisions: typed questions about an input, answered by the probabilities of one token each."""
