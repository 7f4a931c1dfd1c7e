"""How a server is told the mode, apart from what asks it: the command's help needs no client."""

from enum import StrEnum


class Switch(StrEnum):
    """How a server is told the mode."""

    MODE = "mode"
    """By this project's field."""
    ENABLE_THINKING = "enable_thinking"
    """By the chat template's variable, as vLLM and SGLang pass it on."""
    NONE = "none"
    """Not at all: its model has one way to answer."""
