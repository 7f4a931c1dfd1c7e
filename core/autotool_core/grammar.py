"""What the answer of a turn may be, as an xgrammar structural tag that every engine enforces.

Format reference: https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autotool_core.profile import ToolFormat

Tag = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerShape:
    """What the request allows the answer to be."""

    tools: Sequence[Mapping[str, Any]] = ()
    """OpenAI function tools that may be called."""
    calls: Literal["allowed", "required", "one"] = "allowed"
    """`one`: exactly one call, of a named tool."""
    parallel: bool = True
    """Whether one turn may hold several calls."""
    schema: Mapping[str, Any] | bool | None = None
    """JSON schema of the content; None leaves it free."""
    strict_tools: bool = False
    """Whether calls, where they are allowed, are held to the schema of a tool that does not say `strict` itself."""


def structural_tag(shape: AnswerShape, tool_format: ToolFormat) -> str | None:
    """The grammar of an answer in JSON, or None where nothing is constrained."""
    answer = _answer(shape, tool_format)
    return json.dumps({"type": "structural_tag", "format": answer}) if answer is not None else None


def _answer(shape: AnswerShape, tool_format: ToolFormat) -> Tag | None:
    tags = [_call(tool["function"], tool_format) for tool in shape.tools]
    calls: Tag = {
        "type": "tags_with_separator",
        "tags": tags,
        "separator": "\n",
        "at_least_one": True,
        "stop_after_first": shape.calls == "one" or not shape.parallel,
    }
    if shape.calls != "allowed":
        return calls
    if shape.schema is not None:
        content = _json(shape.schema)
        return {"type": "or", "elements": [content, calls]} if tags else content
    if any(tool["function"].get("strict", shape.strict_tools) for tool in shape.tools):
        return {"type": "triggered_tags", "triggers": _triggers(tool_format), "tags": tags}
    return None


def _triggers(tool_format: ToolFormat) -> list[str]:
    return ["<tool_call>"] if tool_format == "hermes" else ["<tool_call>\n<function="]


def _call(function: Mapping[str, Any], tool_format: ToolFormat) -> Tag:
    schema: Tag = function.get("parameters") or {"type": "object", "properties": {}}
    if tool_format == "hermes":
        name = json.dumps(function["name"])
        return {
            "type": "tag",
            "begin": f'<tool_call>\n{{"name": {name}, "arguments": ',
            "content": _json(schema),
            "end": "}\n</tool_call>",
        }
    return {
        "type": "tag",
        "begin": f"<tool_call>\n<function={function['name']}>\n",
        "content": {**_json(schema), "style": "qwen_xml"},
        "end": "\n</function>\n</tool_call>",
    }


def _json(schema: Mapping[str, Any] | bool) -> Tag:
    # JSON allows whitespace without end, and small models that are free to write it do not stop.
    return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}
