"""Llama 3.1's tool calls, also Llama 3.2's, 3.3's and 4's: a bare JSON object, `{"name": NAME, "parameters": {...}}`.

Several calls are joined by `;`, as vLLM reads them; Meta describes one call a turn
(https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/). `<|python_tag|>` may stand before a call; Llama 4's
template has `<|python_start|><|python_end|>` there, and the model may write its call in between. The object is Hermes's
(`hermes.HermesBody`). Since nothing marks it, an object in running text is a call only if its first key is `name` or `type`
and if it names a tool that the request offers; any other is content.
"""

import json
from collections.abc import Collection, Mapping
from itertools import product
from typing import Any

from autotool_core.parsing.events import Event, ToolCallStart
from autotool_core.parsing.markers import MarkerNext
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag
from autotool_core.tool_formats.hermes import HermesBody

PYTHON_TAG = "<|python_tag|>"
PYTHON_START, PYTHON_END = "<|python_start|>", "<|python_end|>"
_SPACES = ("", " ", "\n", "\n  ", "\n    ")
_BARE = tuple(f'{{{space}"{key}"' for key, space in product(("name", "type"), _SPACES))


class Llama3Body:
    """Parses one object: a `CallBody`.

    `names`: the tools that it may call, None for any. `beginning`: the part of the object that the opener was. `before`: a text
    that may stand in front of the object.
    """

    def __init__(self, index: int, names: Collection[str] | None, beginning: str, before: str) -> None:
        self.started = False
        self.complete = False
        self._names = names
        self._body = HermesBody(index)
        self._body.feed(beginning)
        self._before = MarkerNext(before) if before else None

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        if self._before is not None:
            found = self._before.feed(text)
            if found is None:
                return [], None
            self._before, text = None, found[1]
        return self._read_object(text)

    def _read_object(self, text: str) -> tuple[list[Event], str | None]:
        events, position = list[Event](), 0
        # By the character, so that an object of another name is over at the same one in any chunking.
        while not self.started and position < len(text):
            events, rest = self._body.feed(text[position])
            position += 1
            if any(isinstance(event, ToolCallStart) and not self._knows(event.name) for event in events):
                return [], text[position:]
            self.started, self.complete = self._body.started, self._body.complete
            if rest is not None:
                return events, rest + text[position:]
        more, rest = self._body.feed(text[position:])
        self.complete = self._body.complete
        return [*events, *more], rest

    def _knows(self, name: str) -> bool:
        return self._names is None or name in self._names


class Llama3Json(ToolFormat):
    """A bare JSON object."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> Llama3Body:
        names = None if opener in {PYTHON_TAG, PYTHON_START} else parameters
        beginning = opener if opener in _BARE else ""
        return Llama3Body(index, names, beginning, PYTHON_END if opener == PYTHON_START else "")

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        begin = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "parameters": '
        return {"type": "tag", "begin": begin, "content": json_tag(parameters), "end": "}"}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return json.dumps({"name": name, "parameters": arguments}, ensure_ascii=False)

    @property
    def closers(self) -> tuple[str, ...]:
        return (PYTHON_END,)

    def matches(self, chat_template: str) -> bool:
        texts = ('{"name": ', '"parameters": ')
        is_llama = any(end in chat_template for end in ("<|eot_id|>", "<|eot|>")) and "<tool_call>" not in chat_template
        return is_llama and all(text in chat_template for text in texts)


FORMAT = Llama3Json(
    name="llama3_json",
    markers=(PYTHON_TAG, PYTHON_START, PYTHON_END),
    openers=(PYTHON_TAG, PYTHON_START, *_BARE),
    close="",
    triggers=('{"name": ',),
    separator="; ",
    joint=";",
)
