"""Calls as a list of Python calls: `[f(a=1, b="x"), g()]`, which Llama 3.2 and 4, Gemma 3 and ToolACE write if asked to.

Chat templates ask for it by an example, `[func_name1(...), ...]` (the examples of vLLM). The list may stand between
`<|python_start|>` and `<|python_end|>` or in a fence of `tool_code`. Since nothing else marks a call, a list in running text
holds calls only if its first one names a tool that the request offers. The rules of a call are those of `_arguments`:

- values are Python literals, or JSON's; a value that is neither is a string of its text;
- positional arguments are no call.

A grammar has values as JSON, but for strings in single quotes, `True`, `False` and `None` that are arguments of their own.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from autotool_core.tool_formats import _arguments_tag as arguments_tag
from autotool_core.tool_formats._arguments import STRING_ENDS, ArgumentsBody, PythonEnd, Syntax
from autotool_core.tool_formats._literals import as_json, scalar, typed
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN, CLOSE = "<|python_start|>", "<|python_end|>"
_FENCE, _CLOSE_FENCE = "```tool_code", "```"
JOINT = ","
_END = rf"(?P=quote)(?=\s*(?:[{re.escape(STRING_ENDS)}]|\Z))"
_TOKEN = re.compile(
    rf"""\s+|(?P<string>[rRuUfF]{{0,2}}(?P<quote>\"{{3}}|'{{3}}|["'])(?:\\.|(?!{_END}).)*{_END})"""
    r"""|(?P<mark>[\[\](){},:])|(?P<word>[^\s\[\](){},:"']+)""",
    re.DOTALL,
)
_STRING = re.compile(r"""([rRuUfF]{0,2})("{3}|'{3}|["'])(.*)\2""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = dict(zip("ntrbfva0\\'\"/", "\n\t\r\b\f\v\a\0\\'\"/", strict=True)) | {"\n": ""}
_ANY_KEY: Tag = {"type": "regex", "pattern": "[A-Za-z_][A-Za-z0-9_]*"}
_WRITTEN = {"boolean": "True|False", "null": "None", "string": r"'([^'\\\n]|\\['\"\\nrtbf])*'"}
"""How values of a type are written that JSON does not have."""
_RESTRICTING = frozenset({"enum", "const", "pattern", "format", "minLength", "maxLength"})


def _decoded(literal: str) -> str:
    """Return the text of a string literal; a backslash that begins no escape is a backslash."""
    match = _STRING.fullmatch(literal)
    prefix, _, body = match.groups() if match else ("", "", literal)
    if "r" in prefix.lower():
        return body
    text = _ESCAPE.sub(_character, body)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return chr(int(code, 16)) if code else _ESCAPED.get(match[4], match[0])


def _value(text: str, types: frozenset[str]) -> str:
    return typed(lambda literal: as_json(literal, _TOKEN, _decoded, scalar), text, types)


def _key(text: str) -> str:
    return "" if re.search(r"\s", text) else text


SYNTAX = Syntax("(", "=", ")", _key, PythonEnd, _value)


class Pythonic(ToolFormat):
    """A list of Python calls, by nothing but its names."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> ArgumentsBody:
        before = ("[",) if opener in {OPEN, _FENCE} else ()
        return ArgumentsBody(SYNTAX, index, parameters, None if opener == JOINT else parameters, before)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        definitions = {keyword: parameters[keyword] for keyword in ("$defs", "definitions") if keyword in parameters}
        content = arguments_tag.members(
            parameters,
            ", ",
            lambda key, schema: arguments_tag.sequence(arguments_tag.text_tag(f"{key}="), _value_tag(schema, definitions)),
            lambda schema: arguments_tag.sequence(_ANY_KEY, arguments_tag.text_tag("="), _value_tag(schema, definitions)),
        )
        return {"type": "tag", "begin": f"{name}(", "content": content, "end": ")"}

    def unenforceable(self, parameters: Mapping[str, Any]) -> str | None:
        return arguments_tag.unknown_keyword(parameters)

    def text_with_calls(self, tags: Sequence[Tag], *, several: bool) -> Tag:
        following = arguments_tag.sequence(arguments_tag.text_tag(self.separator), arguments_tag.any_of(tags))
        more: list[Tag] = [{"type": "star", "content": following}] if several else []
        lists = [
            {
                "type": "tag",
                "begin": f"[{tag['begin']}",
                "content": arguments_tag.sequence(tag["content"], arguments_tag.text_tag(tag["end"]), *more),
                "end": "]",
            }
            for tag in tags
        ]
        return {"type": "triggered_tags", "triggers": [tag["begin"] for tag in lists], "tags": lists}

    def text_without_calls(self, names: Sequence[str]) -> Tag:
        return {"type": "any_text", "excludes": [*self.markers, _FENCE, *(f"[{name}(" for name in names)]}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{name}({', '.join(f'{key}={self.literal(value)}' for key, value in arguments.items())})"

    def literal(self, value: object) -> str:
        """Return a value as these models write it: a constant as Python has it, anything else as JSON."""
        return repr(value) if value is None or isinstance(value, bool) else json.dumps(value, ensure_ascii=False)

    @property
    def closers(self) -> tuple[str, ...]:
        return ("]", CLOSE, _CLOSE_FENCE)

    def matches(self, chat_template: str) -> bool:
        return "[func_name1(" in chat_template


def _value_tag(schema: Any, definitions: Mapping[str, Any]) -> Tag:
    if not isinstance(schema, Mapping):
        return json_tag(schema)
    described = cast("Mapping[str, Any]", schema)
    in_json = json_tag({**described, **(definitions if "$ref" in json.dumps(described) else {})})
    written = _WRITTEN.get(str(described.get("type")))
    if written is None or described.keys() & _RESTRICTING:
        return in_json
    in_python = {"type": "regex", "pattern": written}
    return arguments_tag.any_of([in_json, in_python]) if described["type"] == "string" else in_python


FORMAT = Pythonic(
    name="pythonic",
    markers=(OPEN, CLOSE),
    openers=(OPEN, _FENCE, "["),
    close="",
    triggers=(),
    section=("[", "]"),
    separator=", ",
    joint=JOINT,
    json_arguments=False,
)
