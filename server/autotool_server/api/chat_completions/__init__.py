"""OpenAI's chat completions: the schemas, the way in and the way out."""
