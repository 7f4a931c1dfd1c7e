"""Checks whether a record is fit for training, and corrects it where the correction is certain."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotool_core.parsing.schema_types import ParameterTypes
from autotool_core.profile import Profile
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.arguments import coerced, fits, is_broken
from autotool_training.data.sources.tools import parameters

MARKERS = Profile(name="of every checkpoint that is trained here").markers
PLACEHOLDER = re.compile(
    r"<[^<>]+>|\{\{.+\}\}|\[[A-Z][\w' ]*\]|your[_ ]\w*(key|id|token|name|password)|.*API_call_\d+.*", re.DOTALL | re.IGNORECASE
)

COERCED, MISTYPED, REASONING_REMOVED = (
    "argument typed",
    "argument of another type than its schema's, left",
    "reasoning with a marker, removed",
)


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    record: Record
    fault: str | None
    """The first fault of the corrected record, or None."""
    notes: Mapping[str, int]
    """The numbers of corrections and of remaining oddities."""


def check(record: Record) -> Checked:
    """Correct the types of arguments, also in the history, remove marked reasoning, and find the first fault."""
    schemas = {tool["function"]["name"]: parameters(tool) for tool in record.tools}
    calls = [GoldCall(name=call.name, arguments=_coerced(call.arguments, schemas.get(call.name))) for call in record.calls]
    values = [
        (before, after, _property(schemas[call.name], name))
        for old_call, call in zip(record.calls, calls, strict=True)
        if call.name in schemas
        for (name, after), before in zip(call.arguments.items(), old_call.arguments.values(), strict=True)
    ]
    reasoning = record.reasoning if not _has_marker(record.reasoning) else None
    notes = {
        COERCED: sum(type(before) is not type(after) for before, after, _ in values),
        MISTYPED: sum(not fits(after, schema) for _, after, schema in values),
        REASONING_REMOVED: int(reasoning != record.reasoning),
    }
    messages = [_message(message, schemas) for message in record.messages]
    corrected = record.model_copy(update={"calls": calls, "messages": messages, "reasoning": reasoning})
    return Checked(corrected, _fault(corrected, schemas), {change: number for change, number in notes.items() if number})


def _fault(record: Record, schemas: Mapping[str, Mapping[str, Any]]) -> str | None:
    if not any(message["role"] == "user" and message["content"].strip() for message in record.messages):
        return "no request"
    if not record.calls and not (record.content or "").strip():
        return "no answer"
    if _has_marker(record.content):
        return "marker in the answer"
    return next((fault for call in record.calls if (fault := _call_fault(call, schemas.get(call.name)))), None)


def _call_fault(call: GoldCall, schema: Mapping[str, Any] | None) -> str | None:
    if schema is None:
        return "call of a tool that is not offered"
    if any(name not in call.arguments for name in schema.get("required", ())):
        return "required argument missing"
    if not all(_takes(schema, name) for name in call.arguments):
        return "argument that the tool does not have"
    if any(is_broken(value, _property(schema, name)) for name, value in call.arguments.items()):
        return "argument that is broken JSON"
    return "placeholder argument" if any(map(_is_placeholder, call.arguments.values())) else None


def _takes(schema: Mapping[str, Any], name: str) -> bool:
    """Return whether a tool has an argument: as one of its properties, or because its schema says that it takes others."""
    if schema.get("additionalProperties", False) is not False:
        return True
    return schema.get("properties") != {} and ParameterTypes(schema).knows(name)


def _property(schema: Mapping[str, Any], name: str) -> Any:
    return schema.get("properties", {}).get(name)


def _is_placeholder(value: Any) -> bool:
    if isinstance(value, str):
        return PLACEHOLDER.fullmatch(value.strip()) is not None
    inner = value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ()
    return any(map(_is_placeholder, inner))


def _has_marker(text: str | None) -> bool:
    return any(marker in (text or "") for marker in MARKERS)


def _coerced(arguments: Mapping[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
    return coerced(arguments, schema)


def _message(message: dict[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if not message.get("tool_calls"):
        return message
    return {**message, "tool_calls": [_tool_call(call, schemas) for call in message["tool_calls"]]}


def _tool_call(call: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    function = call["function"]
    arguments = _coerced(json.loads(function["arguments"]), schemas.get(function["name"]))
    return {**call, "function": {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}}
