r"""GLM-4.5's tool calls, also GLM-4.6's and 4.7's.

`<tool_call>NAME\n<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n...</tool_call>`. GLM-4.7 writes no newlines. The rules
are those of `_tagged`; the template of the checkpoints is described at https://huggingface.co/zai-org/GLM-4.5.
"""

from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats._tagged import TaggedBody, Tags, value_text
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
_OPEN_KEY, _CLOSE_KEY = "<arg_key>", "</arg_key>"
_OPEN_VALUE, _CLOSE_VALUE = "<arg_value>", "</arg_value>"
_TAGS = Tags("", "", _OPEN_KEY, _CLOSE_KEY, _OPEN_VALUE, _CLOSE_VALUE, CLOSE)


class Glm45(ToolFormat):
    """Keys and values in tags inside of `<tool_call>`."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> TaggedBody:
        return TaggedBody(_TAGS, index, parameters, named=True)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        content = {**json_tag(parameters), "style": "glm_xml"}
        return {"type": "tag", "begin": f"{OPEN}{name}", "content": content, "end": CLOSE}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        pairs = [
            f"{_OPEN_KEY}{key}{_CLOSE_KEY}\n{_OPEN_VALUE}{value_text(value)}{_CLOSE_VALUE}\n"
            for key, value in arguments.items()
        ]
        return f"{OPEN}{name}\n{''.join(pairs)}{CLOSE}"

    def matches(self, chat_template: str) -> bool:
        return _OPEN_KEY in chat_template


FORMAT = Glm45(
    name="glm45",
    markers=(OPEN, CLOSE, _OPEN_KEY, _CLOSE_KEY, _OPEN_VALUE, _CLOSE_VALUE),
    openers=(OPEN,),
    close=CLOSE,
    triggers=(OPEN,),
    json_arguments=False,
)
