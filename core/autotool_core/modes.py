"""Modes, and how a request's mode is resolved (docs/design/request.md, step 3)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from autotool_core.errors import InvalidRequestError


class Mode(StrEnum):
    """The mode that a request asks for."""

    AUTO = "auto"
    LONG = "long"
    SHORT = "short"


class ResolvedMode(StrEnum):
    """The mode that a turn had."""

    LONG = "long"
    SHORT = "short"


EFFORT_OF_MODE: Mapping[Mode, str] = MappingProxyType({Mode.SHORT: "none", Mode.AUTO: "medium", Mode.LONG: "high"})


class ModeSwitch(StrEnum):
    """The request field by which a server is asked for a mode."""

    MODE = "mode"
    """This project's field."""
    ENABLE_THINKING = "enable_thinking"
    """The chat template's variable, as vLLM and SGLang pass it on; `auto` leaves it undefined."""
    REASONING_EFFORT = "reasoning_effort"
    """OpenAI's field: none, medium and high for short, auto and long."""
    NONE = "none"
    """No field, for a model that has one way to answer."""

    def fields(self, mode: Mode) -> dict[str, Any]:
        """Return the request fields that ask for a mode."""
        if self is ModeSwitch.MODE:
            return {"mode": mode.value}
        if self is ModeSwitch.REASONING_EFFORT:
            return {"reasoning_effort": EFFORT_OF_MODE[mode]}
        if self is ModeSwitch.NONE or mode is Mode.AUTO:
            return {}
        return {"chat_template_kwargs": {"enable_thinking": mode is Mode.LONG}}


def split_alias(model: str) -> tuple[str, Mode | None]:
    """Split a model alias such as `name:long` into the model's name and the mode, which is None if it names none."""
    name, _, suffix = model.rpartition(":")
    if name and suffix in list(Mode):
        return name, Mode(suffix)
    return model, None


def resolve(requested: Mapping[str, Mode | None], default: Mode) -> Mode:
    """Return the mode that a request's fields ask for, else the default.

    `requested` maps each field of the body that can ask for a mode to the mode that it asks for, None where it was not sent.
    Raises InvalidRequestError where two fields disagree, rather than letting one win silently.

    >>> resolve({"mode": None, "reasoning_effort": Mode.LONG}, Mode.AUTO)
    <Mode.LONG: 'long'>
    """
    given = {field: mode for field, mode in requested.items() if mode is not None}
    if len(set(given.values())) > 1:
        fields = " and ".join(given)
        wanted = ", ".join(f"{field} asks for {mode}" for field, mode in given.items())
        raise InvalidRequestError(
            f"{fields} disagree: {wanted}. Send only one of them.", next(iter(given)), code="conflicting_modes"
        )
    return next(iter(given.values()), default)
