"""Mistral's tool calls up to version 7 of its tokenizer (Mistral 7B v0.3, Mixtral, Nemo, Mistral Large 2, Mistral Small 3.1).

`[TOOL_CALLS][{"name": NAME, "arguments": {...}}, ...]`; an `id` in the objects is skipped. The objects are Hermes's
(`hermes.HermesBody`). Source: `mistral_common.tokens.tokenizers.instruct`. Ids in prompts have nine characters: the chat
templates refuse others.
"""

import json
from collections.abc import Mapping
from typing import Any

from autotool_core.parsing.events import Event
from autotool_core.parsing.markers import MarkerNext
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag
from autotool_core.tool_formats.hermes import HermesBody

OPEN = "[TOOL_CALLS]"
JOINT = ","


class ListedBody:
    """Parses the bracket of the list before the first object, and one object: a `CallBody`."""

    def __init__(self, index: int, *, in_list: bool) -> None:
        self.started = False
        self.complete = False
        self._body = HermesBody(index, "<]")
        self._bracket = None if in_list else MarkerNext("[")

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        if self._bracket is not None:
            found = self._bracket.feed(text)
            if found is None or not found[0]:
                return [], found and found[1]
            self._bracket, text = None, found[1]
        events, rest = self._body.feed(text)
        self.started, self.complete = self._body.started, self._body.complete
        return events, rest


def object_tag(name: str, parameters: Mapping[str, Any]) -> Tag:
    """Return the grammar of one object of the list."""
    begin = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '
    return {"type": "tag", "begin": begin, "content": json_tag(parameters), "end": "}"}


def object_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return one object of the list."""
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


class ListFormat(ToolFormat):
    """A list of JSON objects behind a marker."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> ListedBody:
        return ListedBody(index, in_list=opener == JOINT)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        return object_tag(name, parameters)

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return object_text(name, arguments)


class MistralList(ListFormat):
    """Mistral's list."""

    def id_in_prompt(self, name: str, number: int) -> str:
        return f"{number:09}"

    def matches(self, chat_template: str) -> bool:
        return OPEN in chat_template and "[ARGS]" not in chat_template


FORMAT = MistralList(
    name="mistral_list",
    markers=(OPEN,),
    openers=(OPEN,),
    close="",
    triggers=(OPEN,),
    section=(f"{OPEN}[", "]"),
    separator=", ",
    joint=JOINT,
)
