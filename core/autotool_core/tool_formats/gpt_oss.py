"""gpt-oss's tool calls: messages of the harmony format on the commentary channel, addressed to a function.

`<|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{...}<|call|>`, where the recipient may
also stand before the channel. Answers are messages too, so each text of a turn stands behind the header of its channel
(https://developers.openai.com/cookbook/articles/openai-harmony). A turn ends with `<|call|>` or `<|return|>`, which are
end-of-sequence tokens, so it makes one call.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from autotool_core.tool_formats._headed import NAME, HeadedBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>assistant", "<|channel|>", "<|message|>", "<|constrain|>"
END, CALL, RETURN = "<|end|>", "<|call|>", "<|return|>"
FINAL = f"{START}{CHANNEL}final{MESSAGE}"
_FUNCTION = "to=functions."
_BEFORE_CHANNEL = f"{START} {_FUNCTION}"
_CHANNELS = tuple(f"{start}{CHANNEL}" for start in (START, ""))
_OPENERS = (_BEFORE_CHANNEL, *(f"{to}{name} {_FUNCTION}" for to, name in product(_CHANNELS, ("commentary", "analysis"))))
_KINDS = ("", f" {CONSTRAIN}json", f"{CONSTRAIN}json", " json")
_NAMES = tuple(f"{name}{kind}" for name, kind in product(("final", "commentary"), _KINDS))
_HEADERS = tuple(f"{channel}{name}{MESSAGE}" for channel, name in product(_CHANNELS, _NAMES))


def _head(name: str) -> str:
    return f"{START}{CHANNEL}commentary {_FUNCTION}{name} {CONSTRAIN}json{MESSAGE}"


def _recipient_first(head: str) -> str:
    """Return a call's head with the recipient before the channel, as the chat template writes it."""
    name = head.partition(_FUNCTION)[2].removesuffix(f" {CONSTRAIN}json{MESSAGE}")
    return f"{_BEFORE_CHANNEL}{name}{CHANNEL}commentary {CONSTRAIN}json{MESSAGE}"


class GptOss(ToolFormat):
    """A message to a function, whose content is JSON."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HeadedBody:
        channel = ((f"{CHANNEL}commentary",), (f"{CHANNEL}analysis",)) if opener == _BEFORE_CHANNEL else ()
        # The kind of the content is JSON, whatever word the model has for it.
        head = (NAME, *channel, (CONSTRAIN,), ("json",), ("JSON",), ("code",), MESSAGE)
        return HeadedBody(index, head, CALL)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        # Where the end marker ends the sequence, as it does for the family's checkpoints, a grammar of text cannot hold it.
        return {"type": "tag", "begin": _head(name), "content": json_tag(parameters), "end": [CALL, ""]}

    def content_tag(self, content: Tag) -> Tag:
        return {"type": "sequence", "elements": [{"type": "const_string", "value": FINAL}, content]}

    def text_with_calls(self, tags: Sequence[Tag], *, several: bool) -> Tag:
        swapped = [{**tag, "begin": _recipient_first(str(tag["begin"]))} for tag in tags]
        return {"type": "triggered_tags", "triggers": [*self.triggers], "tags": [*tags, *swapped]}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{_head(name)}{json.dumps(arguments, ensure_ascii=False)}{CALL}"

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        thought, content = message.get("reasoning"), message.get("content")
        if thought is None:
            return message
        if not message.get("tool_calls") or not content:
            return {**message, "thinking": thought}
        # The template has one place for what stands before a call.
        return {**message, "thinking": f"{thought}\n\n{content}", "content": ""}

    def matches(self, chat_template: str) -> bool:
        return f"{CHANNEL}analysis{MESSAGE}" in chat_template


FORMAT = GptOss(
    name="gpt_oss",
    markers=("<|start|>", CHANNEL, MESSAGE, CONSTRAIN, END, CALL, RETURN),
    openers=_OPENERS,
    close=CALL,
    triggers=(f"{START}{CHANNEL}commentary {_FUNCTION}", _BEFORE_CHANNEL),
    separator="",
    headers=(*_HEADERS, END, RETURN),
)
