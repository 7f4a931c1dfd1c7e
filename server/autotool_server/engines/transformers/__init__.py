"""The `transformers` engine: starts in seconds, runs on any laptop."""

from autotool_server.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine"]
