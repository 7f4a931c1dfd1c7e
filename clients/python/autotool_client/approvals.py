"""Calls of server tools that wait for the user's approval (docs/guides/tools.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from autotool_client.record import record

APPROVAL_REQUIRED = "approval_required"
"""The stop reason of an answer that waits for approvals."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call of a server tool that has not run, because it needs the user's approval."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


def pending_calls(response: BaseModel) -> list[PendingCall]:
    """Return the calls of a completion, or of a stream's last chunk, that need approval; none if it does not wait for any.

    To go on, send the request again with the transcript of its record appended to `messages`, and with `tool_approvals`: the
    ids of these calls, each with True (run it) or False. `create_with_approval` does it.
    Raises pydantic.ValidationError if the server put something else than a record under `autotool`.
    """
    decided = record(response)
    if decided is None or decided.stop_reason != APPROVAL_REQUIRED:
        return []
    return _unanswered(decided.transcript or [])


def _unanswered(transcript: Sequence[Mapping[str, Any]]) -> list[PendingCall]:
    """Return the calls of a transcript that have no result."""
    answered = {message.get("tool_call_id") for message in transcript if message["role"] == "tool"}
    calls = [call for message in transcript for call in message.get("tool_calls") or () if call["id"] not in answered]
    return [PendingCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def resumed(params: Mapping[str, Any], response: BaseModel, approvals: Mapping[str, bool]) -> dict[str, Any]:
    """Return the arguments of the `create` that goes on after a response to `params` that waits for approvals."""
    decided = record(response)
    transcript = (decided.transcript if decided else None) or []
    return {**params, "messages": [*params["messages"], *transcript], "tool_approvals": dict(approvals)}


def with_whole_transcript(response: BaseModel, params: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Make the transcript of the response to `params` begin where the messages of `asked` end, which came before it."""
    earlier = params["messages"][len(asked["messages"]) :]
    value = getattr(response, "autotool", None)
    if earlier and value is not None:
        whole = {**value, "transcript": [*earlier, *(value.get("transcript") or [])]}
        setattr(response, "autotool", whole)  # noqa: B010 the type has no such field, its extra fields do
