"""Granite 3's tool calls: a JSON list behind a marker, `<|tool_call|>[{"name": NAME, "arguments": {...}}, ...]`.

Granite 3.1 writes `<tool_call>` for the marker, and may close the list with `</tool_call>`. The list is Mistral's
(`mistral_list`), and the format is described in the chat template at
https://huggingface.co/ibm-granite/granite-3.3-8b-instruct. Granite 4 writes calls as Hermes does.
"""

from autotool_core.tool_formats.mistral_list import JOINT, ListFormat

OPEN = "<|tool_call|>"
_OTHER_OPEN = "<tool_call>"
_OTHER_CLOSE = "</tool_call>"


class Granite3(ListFormat):
    """Granite's list."""

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
