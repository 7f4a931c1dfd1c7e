"""OpenAI's completions: a prompt that the model goes on with, as plain text."""
