"""Modes and how a request's mode is found (docs/lifecycle.md, step 2)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

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

MODE_OF_THINKING: Mapping[bool, Mode] = MappingProxyType({True: Mode.LONG, False: Mode.SHORT})


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
