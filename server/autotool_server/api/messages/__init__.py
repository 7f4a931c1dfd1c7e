"""Anthropic's Messages: the schemas, the way in and the way out."""
