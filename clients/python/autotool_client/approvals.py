"""Calls of server tools that wait for the user's approval (docs/guides/tools.md)."""

from collections.abc import Mapping
from typing import Any

from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from autotool_client.record import record
from autotool_core.record import PendingCall


def pending_calls(response: BaseModel) -> list[PendingCall]:
    """Return the calls of a completion, or of a stream's last chunk, that need approval; none if it does not wait for any.

    To go on, send the request again with the transcript of its record appended to `messages`, and with `tool_approvals`: the
    ids of these calls, each with True (run it) or False. `create_with_approval` does it.
    Raises pydantic.ValidationError if the server put something else than a record under `autotool`.
    """
    decided = record(response)
    return decided.pending_calls if decided else []


def calls_to_ask_about(completion: ChatCompletion) -> list[PendingCall]:
    """Return the pending calls; none if functions of the client are called too, whose results only the client has."""
    return [] if completion.choices[0].message.tool_calls else pending_calls(completion)


def resumed(params: Mapping[str, Any], completion: ChatCompletion, approvals: Mapping[str, bool]) -> dict[str, Any]:
    """Return the arguments of the `create` that goes on after a completion of `params` that waits for approvals."""
    decided = record(completion)
    transcript = (decided.transcript if decided else None) or []
    return {**params, "messages": [*params["messages"], *transcript], "tool_approvals": dict(approvals)}


def keep_whole_transcript(completion: ChatCompletion, params: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """Put what the requests before `params` have appended to the messages of the first one before the transcript."""
    earlier = params["messages"][len(first["messages"]) :]
    value = getattr(completion, "autotool", None)
    if earlier and isinstance(value, dict):
        value["transcript"] = [*earlier, *(value.get("transcript") or [])]
