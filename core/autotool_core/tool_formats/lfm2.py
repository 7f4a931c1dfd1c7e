"""LFM2's tool calls: a list of Python calls between markers, `<|tool_call_start|>[f(a=1, b='x')]<|tool_call_end|>`.

The calls are those of `pythonic`, of any name, since the markers tell them. Source: the chat templates of the checkpoints
(https://huggingface.co/LiquidAI/LFM2-1.2B), which write strings of earlier calls in single quotes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autotool_core.tool_formats._arguments import ArgumentsBody
from autotool_core.tool_formats.base import Tag, ToolFormat
from autotool_core.tool_formats.pythonic import JOINT, SYNTAX, Pythonic

OPEN, CLOSE = "<|tool_call_start|>", "<|tool_call_end|>"
_TOOL_LIST = "<|tool_list_start|>"


class Lfm2(Pythonic):
    """A list of Python calls between markers."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> ArgumentsBody:
        return ArgumentsBody(SYNTAX, index, parameters, before=("[",) if opener == OPEN else ())

    def text_with_calls(self, tags: Sequence[Tag], *, several: bool) -> Tag:
        return ToolFormat.text_with_calls(self, tags, several=several)

    def text_without_calls(self, names: Sequence[str]) -> Tag:
        return ToolFormat.text_without_calls(self, names)

    def literal(self, value: object) -> str:
        return _in_single_quotes(value) if isinstance(value, str) else super().literal(value)

    @property
    def closers(self) -> tuple[str, ...]:
        return ("]", CLOSE)

    def matches(self, chat_template: str) -> bool:
        return OPEN in chat_template or _TOOL_LIST in chat_template


def _in_single_quotes(text: str) -> str:
    for char, escape in (("\\", r"\\"), ("'", r"\'"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(char, escape)
    return f"'{text}'"


FORMAT = Lfm2(
    name="lfm2",
    markers=(OPEN, CLOSE),
    openers=(OPEN,),
    close="",
    triggers=(OPEN,),
    section=(f"{OPEN}[", f"]{CLOSE}"),
    separator=", ",
    joint=JOINT,
    json_arguments=False,
)
