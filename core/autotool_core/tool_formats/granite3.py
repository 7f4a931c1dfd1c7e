"""Granite 3's tool calls: a JSON list behind a marker, `<|tool_call|>[{"name": NAME, "arguments": {...}}, ...]`.

Granite 3.1 writes `<tool_call>` for the marker, and may close the list with `</tool_call>`. The list is Mistral's
(`mistral_list`), and the format is described in the chat template at
https://huggingface.co/ibm-granite/granite-3.3-8b-instruct. Granite 4 writes calls as Hermes does.
"""

from collections.abc import Mapping
from typing import Any

from autotool_core.tool_formats.base import Tag, ToolFormat
from autotool_core.tool_formats.mistral_list import JOINT, ListedBody, object_tag, object_text

OPEN = "<|tool_call|>"
_OTHER_OPEN = "<tool_call>"
_OTHER_CLOSE = "</tool_call>"


class Granite3(ToolFormat):
    """A list of JSON objects behind a marker."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> ListedBody:
        return ListedBody(index, in_list=opener == JOINT)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        return object_tag(name, parameters)

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return object_text(name, arguments)

    @property
    def closers(self) -> tuple[str, ...]:
        return ("]", _OTHER_CLOSE)

    def matches(self, chat_template: str) -> bool:
        return OPEN in chat_template


FORMAT = Granite3(
    name="granite3",
    markers=(OPEN,),
    openers=(OPEN, _OTHER_OPEN),
    close="",
    triggers=(OPEN,),
    section=(f"{OPEN}[", "]"),
    separator=", ",
    joint=JOINT,
)
