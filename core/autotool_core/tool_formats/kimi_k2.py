"""Kimi K2's tool calls.

`<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:NUMBER<|tool_call_argument_begin|>{...}<|tool_call_end|>...
<|tool_calls_section_end|>`, where the outer markers may be missing. `functions.NAME:NUMBER` is the call's id, and the chat
template writes the ids of earlier calls, so they have to be of this form: NUMBER counts the conversation's calls from 0
(guidance on tool calls at https://huggingface.co/moonshotai/Kimi-K2-Instruct).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from autotool_core.tool_formats._headed import NAME, HeadedBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN, CLOSE = "<|tool_call_begin|>", "<|tool_call_end|>"
OPEN_SECTION, CLOSE_SECTION = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_ID = re.compile(r"(?:functions\.)?(.+?)(?::\d*)?")


def _name_of(call_id: str) -> str:
    """Return the name in an id; models leave the number or `functions.` out now and then."""
    match = _ID.fullmatch(call_id)
    return match[1] if match else ""


class KimiK2(ToolFormat):
    """An id and JSON between markers, in a section of calls."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HeadedBody:
        head = (NAME, _ARGUMENTS) if opener == OPEN else (OPEN, NAME, _ARGUMENTS)
        return HeadedBody(index, head, CLOSE, _name_of)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        number: Tag = {"type": "regex", "pattern": r"\d{1,4}"}
        parts = [number, {"type": "const_string", "value": _ARGUMENTS}, json_tag(parameters)]
        return {
            "type": "tag",
            "begin": f"{OPEN}functions.{name}:",
            "content": {"type": "sequence", "elements": parts},
            "end": CLOSE,
        }

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return self._numbered(name, arguments, 0)

    def render_calls(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        numbered = (self._numbered(name, arguments, number) for number, (name, arguments) in enumerate(calls))
        return f"{OPEN_SECTION}{''.join(numbered)}{CLOSE_SECTION}"

    def id_in_prompt(self, name: str, number: int) -> str:
        return f"functions.{name}:{number}"

    def matches(self, chat_template: str) -> bool:
        return _ARGUMENTS in chat_template

    def _numbered(self, name: str, arguments: Mapping[str, Any], number: int) -> str:
        return f"{OPEN}{self.id_in_prompt(name, number)}{_ARGUMENTS}{json.dumps(arguments, ensure_ascii=False)}{CLOSE}"


FORMAT = KimiK2(
    name="kimi_k2",
    markers=(OPEN_SECTION, CLOSE_SECTION, OPEN, _ARGUMENTS, CLOSE),
    openers=(OPEN_SECTION, OPEN),
    close=CLOSE,
    triggers=(OPEN_SECTION,),
    section=(OPEN_SECTION, CLOSE_SECTION),
    separator="",
)
