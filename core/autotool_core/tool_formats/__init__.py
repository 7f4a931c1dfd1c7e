"""Tool-call formats: how a model writes the calls of tools, one module a format."""
