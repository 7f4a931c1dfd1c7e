r"""The tool calls of DeepSeek-V3 and DeepSeek-R1.

`<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n{...}\n```<｜tool▁call▁end｜>\n...
<｜tool▁calls▁end｜>`, where the outer markers may be missing (https://huggingface.co/deepseek-ai/DeepSeek-V3-0324).
"""

import json
from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._headed import NAME, HeadedBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag
from autotool_core.tool_formats.deepseek_v31 import CLOSE, CLOSE_SECTION, MARKERS, OPEN, OPEN_SECTION, SEPARATOR

_KIND = "function"
_FENCE, _CLOSE_FENCE = "```json", "```"


class DeepSeekV3(ToolFormat):
    """A name and fenced JSON between markers, in a section of calls."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HeadedBody:
        head = (_KIND, SEPARATOR, NAME, _FENCE)
        return HeadedBody(index, head if opener == OPEN else (OPEN, *head), _CLOSE_FENCE)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        begin = f"{OPEN}{_KIND}{SEPARATOR}{name}\n{_FENCE}\n"
        return {"type": "tag", "begin": begin, "content": json_tag(parameters), "end": f"\n{_CLOSE_FENCE}{CLOSE}"}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        text = json.dumps(arguments, ensure_ascii=False)
        return f"{OPEN}{_KIND}{SEPARATOR}{name}\n{_FENCE}\n{text}\n{_CLOSE_FENCE}{CLOSE}"

    def matches(self, chat_template: str) -> bool:
        return SEPARATOR in chat_template and _FENCE in chat_template


FORMAT = DeepSeekV3(
    name="deepseek_v3",
    markers=MARKERS,
    openers=(OPEN_SECTION, OPEN),
    close=f"{_CLOSE_FENCE}{CLOSE}",
    triggers=(OPEN_SECTION,),
    section=(OPEN_SECTION, CLOSE_SECTION),
)
