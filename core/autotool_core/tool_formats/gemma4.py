"""Gemma 4's tool calls: `<|tool_call>call:NAME{key:<|"|>text<|"|>,n:5}<tool_call|>`.

The rules are those of `_gemma`. Source: the guide to its prompts at
https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4.
"""

from autotool_core.tool_formats._gemma import GemmaFormat

OPEN, CLOSE = "<|tool_call>", "<tool_call|>"
_DELIMITER = '<|"|>'

FORMAT = GemmaFormat(
    name="gemma4",
    markers=(OPEN, CLOSE, _DELIMITER),
    openers=(OPEN,),
    close=CLOSE,
    triggers=(OPEN,),
    separator="",
    delimiter=_DELIMITER,
    json_arguments=False,
)
