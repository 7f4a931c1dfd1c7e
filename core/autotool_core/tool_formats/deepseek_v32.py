r"""DeepSeek-V3.2's tool calls.

`<｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\n<｜DSML｜parameter name="KEY" string="true">VALUE</｜DSML｜parameter>\n
...</｜DSML｜invoke>\n</｜DSML｜function_calls>`, where the outer markers may be missing: behind `string="true"` stands a text
as it is, behind `string="false"` JSON. The other rules are those of `_tagged`; the checkpoint describes the format by the
code that writes its prompts (`encoding_dsv32.py` at https://huggingface.co/deepseek-ai/DeepSeek-V3.2).
"""

from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._tagged import TaggedBody, Tags, value_text
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

_DSML = "｜DSML｜"
OPEN_SECTION, CLOSE_SECTION = f"<{_DSML}function_calls>", f"</{_DSML}function_calls>"
_INVOKE, CLOSE = f"<{_DSML}invoke name=", f"</{_DSML}invoke>"
_PARAMETER, _CLOSE_PARAMETER = f"<{_DSML}parameter name=", f"</{_DSML}parameter>"
_TAGS = Tags(_INVOKE, ">", _PARAMETER, ">", "", _CLOSE_PARAMETER, CLOSE, CLOSE_SECTION, says_type=True)


class DeepSeekV32(ToolFormat):
    """Parameters in tags that say their type, inside of a section of calls."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> TaggedBody:
        return TaggedBody(_TAGS, index, parameters, named=opener == _INVOKE)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        content = {**json_tag(parameters), "style": "deepseek_xml"}
        return {"type": "tag", "begin": f'{_INVOKE}"{name}">\n', "content": content, "end": f"{CLOSE}\n"}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f'{_INVOKE}"{name}">\n{"".join(map(_parameter, arguments, arguments.values()))}{CLOSE}\n'

    def matches(self, chat_template: str) -> bool:
        return OPEN_SECTION in chat_template


def _parameter(key: str, value: object) -> str:
    is_text = "true" if isinstance(value, str) else "false"
    return f'{_PARAMETER}"{key}" string="{is_text}">{value_text(value)}{_CLOSE_PARAMETER}\n'


FORMAT = DeepSeekV32(
    name="deepseek_v32",
    markers=(OPEN_SECTION, CLOSE_SECTION, _DSML),
    openers=(OPEN_SECTION, _INVOKE),
    close=CLOSE,
    triggers=(OPEN_SECTION,),
    section=(f"{OPEN_SECTION}\n", CLOSE_SECTION),
    separator="",
    json_arguments=False,
)
