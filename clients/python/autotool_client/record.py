"""The fields that the server adds to OpenAI's objects: the decision record and the reasoning."""

from pydantic import BaseModel

from autotool_core.record import DecisionRecord, PendingCall, Timings, TurnRecord

__all__ = ["DecisionRecord", "PendingCall", "Timings", "TurnRecord", "reasoning", "record"]


def record(response: BaseModel) -> DecisionRecord | None:
    """Return the decision record of a completion or of a stream's last chunk, or None if the object carries none.

    A chunk that reports an event of server tools carries none: its event is in `chunk.autotool`.
    Raises pydantic.ValidationError if the server put something else under `autotool`.
    """
    value = getattr(response, "autotool", None)
    is_event = isinstance(value, dict) and "event" in value
    return None if value is None or is_event else DecisionRecord.model_validate(value)


def reasoning(message: BaseModel) -> str | None:
    """Return the reasoning of a message or of a stream's delta, under either name in use, or None if there is none."""
    text = getattr(message, "reasoning", None)
    return getattr(message, "reasoning_content", None) if text is None else text
