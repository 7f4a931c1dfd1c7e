"""The grammar of a turn's answer: an xgrammar structural tag, which every engine enforces.

Format reference: https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag


@dataclass(frozen=True, slots=True)
class AnswerShape:
    """What a request allows the answer to be."""

    tools: Sequence[Mapping[str, Any]] = ()
    """The OpenAI function tools that the model is offered."""
    calls: Literal["allowed", "required", "one", "none"] = "allowed"
    """Whether calls may or must be made; `one` is exactly one call, of a named tool; `none` is none, and text without the
    markers of calls."""
    parallel: bool = True
    """Whether one turn may make several calls."""
    schema: Mapping[str, Any] | bool | None = None
    """The JSON schema of the content; None leaves the content free."""
    strict_tools: bool = False
    """Whether allowed calls are constrained by the schema of a tool that does not set `strict` itself."""
    content: Tag | None = None
    """The grammar of the content, in place of a schema; None leaves the content to `schema`."""
    callable_names: Collection[str] | None = None
    """The names of the tools that may be called; None for all. The others are offered all the same, so that the prompt
    stays as it is."""

    @property
    def content_tag(self) -> Tag | None:
        """The grammar of the content; None leaves it free."""
        return json_tag(self.schema) if self.content is None and self.schema is not None else self.content

    @property
    def callable_tools(self) -> list[Mapping[str, Any]]:
        """The tools that may be called."""
        names = self.callable_names
        return [tool for tool in self.tools if names is None or tool["function"]["name"] in names]


def structural_tag(shape: AnswerShape, tool_format: ToolFormat) -> str | None:
    """Return the grammar of an answer as JSON text, or None if nothing is constrained."""
    answer = _answer(shape, tool_format)
    return json.dumps({"type": "structural_tag", "format": answer}) if answer is not None else None


def _answer(shape: AnswerShape, tool_format: ToolFormat) -> Tag | None:
    tools = shape.callable_tools
    tags = [_call(tool["function"], tool_format) for tool in tools]
    several = shape.calls != "one" and shape.parallel
    calls = tool_format.calls_tag(tags, several=several)
    content = shape.content_tag
    if shape.calls == "none":
        names = [tool["function"]["name"] for tool in shape.tools]
        return tool_format.content_tag(content or tool_format.text_without_calls(names))
    if shape.calls != "allowed":
        return calls
    if content is not None:
        content = tool_format.content_tag(content)
        return {"type": "or", "elements": [content, calls]} if tags else content
    if shape.callable_names is not None or any(tool["function"].get("strict", shape.strict_tools) for tool in tools):
        return tool_format.text_with_calls(tags, several=several)
    return None


def _call(function: Mapping[str, Any], tool_format: ToolFormat) -> Tag:
    return tool_format.call_tag(function["name"], function.get("parameters") or {"type": "object", "properties": {}})
