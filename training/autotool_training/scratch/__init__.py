"""A tiny model from scratch with its tokenizer: the base of recipes that run on two CPU cores."""

from autotool_training.scratch.model import ScratchSettings, make

__all__ = ["ScratchSettings", "make"]
