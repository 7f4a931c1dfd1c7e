"""Modes, and how a request's mode is resolved (docs/lifecycle.md, step 2)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

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
    """Split a model alias such as `name:long` into the model's name and the mode, which is None if it names none."""
    name, _, suffix = model.rpartition(":")
    if name and suffix in list(Mode):
        return name, Mode(suffix)
    return model, None


def resolve(requested: Mapping[str, Mode | None], default: Mode) -> Mode:
    """Return the mode that a request's fields ask for, else the default.

    `requested` maps each field of the body that can ask for a mode to the mode that it asks for, None where it was not sent.
    Raises InvalidRequestError where two fields disagree, rather than letting one win silently.

    >>> resolve({"mode": None, "reasoning_effort": MODE_OF_EFFORT["high"]}, Mode.AUTO)
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
