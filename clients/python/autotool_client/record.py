"""What the server adds to OpenAI's objects: the decision record and the reasoning."""

from pydantic import BaseModel

from autotool_core.record import DecisionRecord, TurnRecord

__all__ = ["DecisionRecord", "TurnRecord", "reasoning", "record"]


def record(response: BaseModel) -> DecisionRecord | None:
    """The decision record of a completion, or of a stream's last chunk; None where the object carries none.

    A chunk that tells an event of server tools carries none either: its event is in `chunk.autotool`.
    Raises pydantic.ValidationError if the server put something else under `autotool`.
    """
    found = getattr(response, "autotool", None)
    is_event = isinstance(found, dict) and "event" in found
    return None if found is None or is_event else DecisionRecord.model_validate(found)


def reasoning(message: BaseModel) -> str | None:
    """The reasoning of a message or of a stream's delta, under either name in use; None where there is none."""
    first = getattr(message, "reasoning", None)
    return getattr(message, "reasoning_content", None) if first is None else first
