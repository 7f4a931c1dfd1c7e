"""Reads messages in OpenAI's form, also of the older one with functions, into turns; content may be a list of typed parts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_core.function_schemas import plain_name
from autotool_training.common.records import GoldCall
from autotool_training.data.sources.chat import Turn
from autotool_training.data.sources.rows import FieldError, json_field

THINK = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)
ROLES: Mapping[str, Any] = {"system": "system", "developer": "system", "user": "user", "tool": "tool", "function": "tool"}
"""The role of a turn for each role of OpenAI's that is not the assistant's."""


def read_message(message: Any, field: str) -> Turn:
    """Return the turn of a message. Raises FieldError."""
    if not isinstance(message, Mapping):
        raise FieldError(field, "no object", 'write {"role": ..., "content": ...}')
    role, content = str(message.get("role")), message.get("content")
    parts = list(_parts(content, f"{field}.content"))
    text = "\n".join(text for kind, text in parts if kind == "text")
    if role == "assistant":
        return _answer(message, field, text, parts)
    if role not in ROLES:
        raise FieldError(f"{field}.role", "unknown role", "use system, user, assistant or tool")
    if content is None:
        raise FieldError(f"{field}.content", "missing", 'write text, or "" if there is none')
    if ROLES[role] != "tool":
        return Turn(field, ROLES[role], text)
    name = message.get("name")
    named = plain_name(name) if isinstance(name, str) else None
    return Turn(field, "tool", text, result_of=_id(message.get("tool_call_id")), name=named)


def read_call(raw: Any, field: str) -> GoldCall:
    """Return a call with its arguments, an object or its JSON. Raises FieldError."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise FieldError(f"{field}.name", "no name", "write the name of the tool that is called")
    value = raw.get("arguments", raw.get("parameters"))
    if value in (None, ""):
        value = {}
    arguments = json_field(value, Mapping, f"{field}.arguments", "write a JSON object as a string")
    return GoldCall(name=plain_name(raw["name"]), arguments=dict(arguments))


def split_reasoning(text: str) -> tuple[str | None, str]:
    """Return the think block that a text begins with, if it does, and the rest of the text."""
    match = THINK.fullmatch(text)
    return (match[1].strip(), match[2]) if match else (None, text)


def _answer(message: Mapping[str, Any], field: str, text: str, parts: Sequence[tuple[str, str]]) -> Turn:
    thought, text = split_reasoning(text)
    written = message.get("reasoning_content") or message.get("reasoning")
    apart = "\n".join(text for kind, text in parts if kind == "reasoning")
    calls = [*_calls(message, field), *(_part_call(text, f"{field}.content") for kind, text in parts if kind == "tool_call")]
    return Turn(
        field,
        "assistant",
        text,
        calls=tuple(call for call, _ in calls),
        call_ids=tuple(name for _, name in calls),
        reasoning=(written if isinstance(written, str) else None) or apart or thought,
        is_trained=_is_trained(message.get("weight"), f"{field}.weight"),
    )


def _calls(message: Mapping[str, Any], field: str) -> Iterator[tuple[GoldCall, str | None]]:
    """Yield the calls of an answer, each with its id."""
    if message.get("function_call"):
        yield read_call(message["function_call"], f"{field}.function_call"), None
    calls = json_field(message.get("tool_calls") or [], Sequence, f"{field}.tool_calls", "write a list of calls")
    for number, call in enumerate(calls):
        place = f"{field}.tool_calls[{number}]"
        if not isinstance(call, Mapping):
            raise FieldError(place, "no object", 'write {"id": ..., "type": "function", "function": {...}}')
        function, within = (call["function"], f"{place}.function") if call.get("function") else (call, place)
        yield read_call(function, within), _id(call.get("id"))


def _id(value: Any) -> str | None:
    """Return an id as text, since some data sets number their calls; None if there is none."""
    return None if value in (None, "") else str(value)


def _part_call(text: str, field: str) -> tuple[GoldCall, None]:
    return read_call(json_field(text, Mapping, field, "write a call as JSON, with name and arguments"), field), None


def _parts(content: Any, field: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each part. LLaMA-Factory has the text in `value`."""
    if content is None or isinstance(content, str):
        yield "text", content or ""
        return
    for number, part in enumerate(json_field(content, Sequence, field, "write text, or a list of parts")):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text", part.get("value")) if isinstance(part, Mapping) else None
        if kind not in ("text", "reasoning", "tool_call") or not isinstance(text, str):
            raise FieldError(f"{field}[{number}]", "part that is no text", "leave out images, audio and files")
        yield kind, text


def _is_trained(weight: Any, field: str) -> bool:
    if weight not in (None, 0, 1):
        raise FieldError(field, "neither 0 nor 1", "write 0 for an answer that is not to be learnt, or leave it out")
    return weight != 0
