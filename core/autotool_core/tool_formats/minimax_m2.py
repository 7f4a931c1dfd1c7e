r"""MiniMax-M2's tool calls.

`<minimax:tool_call>\n<invoke name="NAME">\n<parameter name="KEY">VALUE</parameter>\n...</invoke>\n</minimax:tool_call>`, where
the outer markers may be missing. The rules are those of `_tagged`; the format is described in the
guide to tool calling at https://huggingface.co/MiniMaxAI/MiniMax-M2.
"""

from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._tagged import TaggedBody, Tags, value_text
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN_SECTION, CLOSE_SECTION = "<minimax:tool_call>", "</minimax:tool_call>"
_INVOKE, CLOSE = "<invoke name=", "</invoke>"
_PARAMETER, _CLOSE_PARAMETER = "<parameter name=", "</parameter>"
_TAGS = Tags(_INVOKE, ">", _PARAMETER, ">", "", _CLOSE_PARAMETER, CLOSE, CLOSE_SECTION)


class MiniMaxM2(ToolFormat):
    """Parameters in tags inside of `<invoke>`, in a section of calls."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> TaggedBody:
        return TaggedBody(_TAGS, index, parameters, named=opener == _INVOKE)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        content = {**json_tag(parameters), "style": "minimax_xml"}
        return {"type": "tag", "begin": f'{_INVOKE}"{name}">\n', "content": content, "end": f"{CLOSE}\n"}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        pairs = [f'{_PARAMETER}"{key}">{value_text(value)}{_CLOSE_PARAMETER}\n' for key, value in arguments.items()]
        return f'{_INVOKE}"{name}">\n{"".join(pairs)}{CLOSE}\n'

    def matches(self, chat_template: str) -> bool:
        return OPEN_SECTION in chat_template


FORMAT = MiniMaxM2(
    name="minimax_m2",
    markers=(OPEN_SECTION, CLOSE_SECTION),
    openers=(OPEN_SECTION, _INVOKE),
    close=CLOSE,
    triggers=(OPEN_SECTION,),
    section=(f"{OPEN_SECTION}\n", CLOSE_SECTION),
    separator="",
    json_arguments=False,
)
