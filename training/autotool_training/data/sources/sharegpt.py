"""Reads turns in ShareGPT's form with `function_call` and `observation`, as LLaMA-Factory has them."""

from collections.abc import Mapping
from typing import Any

from autotool_training.data.sources.chat import Turn
from autotool_training.data.sources.openai_chat import read_call, split_reasoning
from autotool_training.data.sources.rows import FieldError, json_field

ROLES: Mapping[str, Any] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "observation": "tool",
    "tool": "tool",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
}


def read_share_turn(raw: Mapping[str, Any], field: str) -> Turn:
    """Return a turn of `from` and `value`. Raises FieldError."""
    speaker, text = raw["from"], raw.get("value")
    if speaker not in ROLES:
        raise FieldError(f"{field}.from", "unknown role", "use human, gpt, function_call, observation or system")
    if not isinstance(text, str):
        raise FieldError(f"{field}.value", "no text", "write a string")
    if ROLES[speaker] != "assistant":
        return Turn(field, ROLES[speaker], text, may_hold_all=ROLES[speaker] == "tool")
    reasoning, rest = split_reasoning(text)
    if speaker != "function_call":
        return Turn(field, "assistant", rest, reasoning=reasoning)
    value = json_field(rest, (Mapping, list), f"{field}.value", "write the call as JSON, with name and arguments")
    listed = value if isinstance(value, list) else [value]
    calls = tuple(read_call(call, f"{field}.value") for call in listed)
    return Turn(field, "assistant", calls=calls, call_ids=(None,) * len(calls), reasoning=reasoning)
