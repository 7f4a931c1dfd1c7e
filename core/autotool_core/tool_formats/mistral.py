"""Mistral's tool calls since version 11 of its tokenizer (Mistral Small 3.2, Devstral, Magistral, Ministral 3).

`[TOOL_CALLS]NAME[ARGS]{...}` for each call; version 11 has `[CALL_ID]ID` before `[ARGS]`, and both may be missing. Source:
`mistral_common.tokens.tokenizers.instruct`. Nothing ends a call but its last brace. Ids in prompts have nine characters.
"""

import json
from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._headed import ID, NAME, HeadedBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN = "[TOOL_CALLS]"
_CALL_ID, _ARGUMENTS = "[CALL_ID]", "[ARGS]"


class Mistral(ToolFormat):
    """A name and JSON behind markers."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HeadedBody:
        return HeadedBody(index, (NAME, (_CALL_ID, ID), (_ARGUMENTS,)))

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        return {"type": "tag", "begin": f"{OPEN}{name}{_ARGUMENTS}", "content": json_tag(parameters), "end": ""}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{OPEN}{name}{_ARGUMENTS}{json.dumps(arguments, ensure_ascii=False)}"

    def id_in_prompt(self, name: str, number: int) -> str:
        return f"{number:09}"

    def matches(self, chat_template: str) -> bool:
        return OPEN in chat_template and _ARGUMENTS in chat_template


FORMAT = Mistral(
    name="mistral",
    markers=(OPEN, _CALL_ID, _ARGUMENTS),
    openers=(OPEN,),
    close="",
    triggers=(OPEN,),
    separator="",
)
