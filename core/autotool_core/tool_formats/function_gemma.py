"""FunctionGemma's tool calls: `<start_function_call>call:NAME{key:<escape>text<escape>,n:5}<end_function_call>`.

The rules are those of `_gemma`. Source: the guide to its format at https://ai.google.dev/gemma/docs/functiongemma.
"""

from autotool_core.tool_formats._gemma import GemmaFormat

OPEN, CLOSE = "<start_function_call>", "<end_function_call>"
_DELIMITER = "<escape>"

FORMAT = GemmaFormat(
    name="function_gemma",
    markers=(OPEN, CLOSE, _DELIMITER),
    openers=(OPEN,),
    close=CLOSE,
    triggers=(OPEN,),
    separator="",
    delimiter=_DELIMITER,
    json_arguments=False,
)
