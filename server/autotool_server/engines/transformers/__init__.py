"""The `transformers` engine, which starts in seconds and runs on a CPU or a GPU."""

from autotool_server.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine"]
