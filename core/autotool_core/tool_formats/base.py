"""The interface of a tool-call format, and the grammar of JSON that formats share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autotool_core.parsing.events import Event

Tag = dict[str, Any]
"""A part of an xgrammar structural tag: https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html"""


class CallBody(Protocol):
    """Parses one tool call behind its opener, in any chunking."""

    started: bool
    """Whether ToolCallStart has been sent: the text can no longer turn out to be no call."""
    complete: bool
    """Whether ToolCallEnd has been sent."""

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        """Return the events and, once the body is over, complete or not, the text behind it, else None.

        The text behind a body that is over without being complete begins with the character that cannot belong to it.
        It may be longer than `text` by what was held back.
        """
        ...


@dataclass(frozen=True)
class ToolFormat(ABC):
    """How the models of one family write tool calls."""

    name: str
    """The name in profiles, which is also the name of the format's module."""
    markers: tuple[str, ...]
    """The control texts: texts that data in a prompt must not be tokenised as, and that detokenising keeps."""
    openers: tuple[str, ...]
    """The texts that begin a call; none of them may be the beginning of another."""
    close: str
    """The text that ends a call behind its body; models may leave it out. "" if the body ends by itself."""
    triggers: tuple[str, ...]
    """The texts after which a grammar that leaves text free enforces a call."""
    section: tuple[str, str] = ("", "")
    """The texts around all calls of a turn; models may leave the second one out. "" if each call stands by itself."""
    separator: str = "\n"
    """The text between two calls of a turn."""
    headers: tuple[str, ...] = ()
    """The texts around an answer's text that are format, and are left out of the content."""
    json_arguments: bool = True
    """Whether a call's arguments are one JSON object, so that a chat template that copies arguments which are text is right."""
    joint: str = ""
    """The text behind a call that begins another one, as an opener does in running text; "" if only openers begin calls."""

    @abstractmethod
    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> CallBody:
        """Return a parser of the turn's call number `index` (from 0), which `opener` has begun.

        `parameters`: the JSON schema of each tool's arguments by the tool's name.
        """

    @abstractmethod
    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        """Return the grammar of one call of the tool `name`, whose arguments have the JSON schema `parameters`."""

    @abstractmethod
    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return a call as a model of this format writes it."""

    def calls_tag(self, tags: Sequence[Tag], *, several: bool) -> Tag:
        """Return the grammar of a turn's calls, one or `several`, each of which is one of `tags`."""
        calls: Tag = {
            "type": "tags_with_separator",
            "tags": [*tags],
            "separator": self.separator,
            "at_least_one": True,
            "stop_after_first": not several,
        }
        begin, end = self.section
        return {"type": "tag", "begin": begin, "content": calls, "end": end} if begin else calls

    def render_calls(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """Return a turn's calls, which are names and arguments, as a model of this format writes them."""
        begin, end = self.section
        return f"{begin}{self.separator.join(self.render(*call) for call in calls)}{end}"

    def content_tag(self, content: Tag) -> Tag:
        """Return the grammar of an answer with this content: behind the header of an answer, if the format has one."""
        return content

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an earlier message by the names that the family's chat template has for its parts."""
        return message

    @property
    def closers(self) -> tuple[str, ...]:
        """The texts that may stand behind a turn's last call, in their order; models may leave any of them out."""
        return tuple(filter(None, (self.close, self.section[1].strip())))

    def text_with_calls(self, tags: Sequence[Tag], *, several: bool) -> Tag:
        """Return the grammar of free text in which each call is one of `tags`."""
        calls = [self.calls_tag(tags, several=several)] if any(self.section) else [*tags]
        return {"type": "triggered_tags", "triggers": [*self.triggers], "tags": calls}

    def text_without_calls(self, names: Sequence[str]) -> Tag:
        """Return the grammar of text in which no call of the tools `names` can be written, whatever tokens it is made of."""
        return {"type": "any_text", "excludes": [*dict.fromkeys((*self.openers, *self.markers))]}

    def unenforceable(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the name of a feature of a tool's JSON schema that `call_tag` does not enforce though JSON's grammars do."""
        return None

    def id_in_prompt(self, name: str, number: int) -> str | None:
        """Return the id that the prompt shows for the conversation's call number `number` (from 0) of the tool `name`.

        None if the family's models do not depend on ids, so that the client's may stay.
        """
        return None

    @abstractmethod
    def matches(self, chat_template: str) -> bool:
        """Return whether a chat template writes calls in this format."""


def json_tag(schema: Mapping[str, Any] | bool) -> Tag:
    """Return the grammar of a JSON value of this schema."""
    # JSON allows whitespace without end, and small models that are free to write it do not stop.
    return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}
