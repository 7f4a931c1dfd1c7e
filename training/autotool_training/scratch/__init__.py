"""A tiny model from scratch, with a tokenizer of its own: the base of recipes that run on two CPU cores."""

from autotool_training.scratch.model import ScratchSettings, make

__all__ = ["ScratchSettings", "make"]
