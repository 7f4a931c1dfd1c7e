"""Incremental parsing of model text into reasoning, content and tool calls."""
