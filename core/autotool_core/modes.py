"""Modes and how a request's mode is found (docs/lifecycle.md, step 2)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from autotool_core.errors import InvalidRequestError


class Mode(StrEnum):
    """What a request asks for."""

    AUTO = "auto"
    LONG = "long"
    SHORT = "short"


class ResolvedMode(StrEnum):
    """What a turn did."""

    LONG = "long"
    SHORT = "short"


MODE_OF_EFFORT: Mapping[str, Mode] = MappingProxyType(
    {
        "none": Mode.SHORT,
        "minimal": Mode.SHORT,
        "low": Mode.AUTO,
        "medium": Mode.AUTO,
        "high": Mode.LONG,
        "xhigh": Mode.LONG,
    }
)

EFFORT_OF_MODE: Mapping[Mode, str] = MappingProxyType({Mode.SHORT: "none", Mode.AUTO: "medium", Mode.LONG: "high"})

MODE_OF_THINKING: Mapping[bool, Mode] = MappingProxyType({True: Mode.LONG, False: Mode.SHORT})


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
    """Split a model alias such as `name:long` into the model's name and its mode, if it names one."""
    name, _, suffix = model.rpartition(":")
    if name and suffix in list(Mode):
        return name, Mode(suffix)
    return model, None


def resolve(
    mode: Mode | None, alias: Mode | None, effort: str | None, default: Mode, *, enable_thinking: bool | None = None
) -> Mode:
    """The mode a request asks for, in one of four ways, else the default.

    `enable_thinking` is the chat-template argument by which clients of stock servers switch hybrid models.
    Raises InvalidRequestError where two ways disagree, rather than letting one win silently.
    """
    asked = {
        "mode": mode,
        "model": alias,
        "reasoning_effort": MODE_OF_EFFORT[effort] if effort is not None else None,
        "chat_template_kwargs": MODE_OF_THINKING[enable_thinking] if enable_thinking is not None else None,
    }
    given = {field: value for field, value in asked.items() if value is not None}
    if len(set(given.values())) > 1:
        fields = " and ".join(given)
        wanted = ", ".join(f"{field} asks for {value}" for field, value in given.items())
        raise InvalidRequestError(
            f"{fields} disagree: {wanted}. Send only one of them.", next(iter(given)), code="conflicting_modes"
        )
    return next(iter(given.values()), default)
