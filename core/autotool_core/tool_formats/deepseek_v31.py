"""DeepSeek-V3.1's tool calls.

`<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{...}<｜tool▁call▁end｜>...<｜tool▁calls▁end｜>`, where the outer
markers may be missing (https://huggingface.co/deepseek-ai/DeepSeek-V3.1).
"""

import json
from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._headed import NAME, HeadedBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN, CLOSE = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
OPEN_SECTION, CLOSE_SECTION = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
MARKERS = (OPEN_SECTION, CLOSE_SECTION, OPEN, SEPARATOR, CLOSE)


class DeepSeekV31(ToolFormat):
    """A name and JSON between markers, in a section of calls."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HeadedBody:
        head = (NAME, SEPARATOR) if opener == OPEN else (OPEN, NAME, SEPARATOR)
        return HeadedBody(index, head, CLOSE)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        return {"type": "tag", "begin": f"{OPEN}{name}{SEPARATOR}", "content": json_tag(parameters), "end": CLOSE}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{OPEN}{name}{SEPARATOR}{json.dumps(arguments, ensure_ascii=False)}{CLOSE}"

    def matches(self, chat_template: str) -> bool:
        return SEPARATOR in chat_template and "```json" not in chat_template


FORMAT = DeepSeekV31(
    name="deepseek_v31",
    markers=MARKERS,
    openers=(OPEN_SECTION, OPEN),
    close=CLOSE,
    triggers=(OPEN_SECTION,),
    section=(OPEN_SECTION, CLOSE_SECTION),
    separator="",
)
