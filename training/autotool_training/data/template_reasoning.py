"""Reasoning written by rule from the gold calls, for records whose source gives none.

Each offered tool is held against the request, then each argument is traced to where its value stands: the user's words, a
tool's result, the rest of the conversation, the schema. A value that stands nowhere is said to be meant: nothing is made up
to derive it. The same record always gets the same thought.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.grounding import mentions, span
from autotool_training.data.overlap import words
from autotool_training.data.quality import MARKERS
from autotool_training.data.sources.tools import Tool, parameters

Way = Literal["verbatim", "derived", "result", "conversation", "default", "schema", "inferred"]

PASSED_OVER = 3
"""Most tools that are not called and yet named."""
WORDS = 12
"""Most words of a description, or of a value."""
LISTED = 5
"""Most values of an enum, or items of a list, that are named."""
SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)[.!?](?=\s+[A-Z])|\n")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the value of an argument stands."""

    way: Way
    words: str
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Place:
    """A text in which a value may stand."""

    way: Way
    """Of a value that stands there as it is."""
    lead: str
    """Says in words that something stands there."""
    text: str


def reasoning(record: Record) -> str:
    """A thought that leads to the record's calls, or to none, in a few sentences and without a marker of the format."""
    sentences = _calling(record) if record.calls else _refusing(record.tools)
    return " ".join(one for one in sentences if not _marked(one))


def places(record: Record) -> list[Place]:
    """Where values may stand, in the order in which they are looked for: the user's words, results, the rest; last first."""
    messages = record.messages[::-1]
    names = {one["id"]: one["function"]["name"] for message in messages for one in message.get("tool_calls", ())}
    request = "\n".join(message["content"] for message in messages if message["role"] == "user")
    results = [
        Place("result", f"the result of {names[message['tool_call_id']]} gives", message["content"])
        for message in messages
        if message["role"] == "tool"
    ]
    leads = {"system": "the system message says", "assistant": "the conversation says"}
    rest = [Place("conversation", leads[one["role"]], one["content"]) for one in messages if one["role"] in leads]
    return [Place("verbatim", "the request says", request), *results, *rest]


def standing(name: str, value: Any, schema: Mapping[str, Any], where: Sequence[Place]) -> Standing:
    """Where the value of the parameter of this name stands. The parts of a list or an object have to stand in one place."""
    leaves = list(_leaves(name, value))
    for place in where:
        spans = [found for part, leaf in leaves if (found := _found(part, leaf, place))]
        if leaves and len(spans) == len(leaves):
            way = "derived" if place.way == "verbatim" and not _as_is(leaves, spans) else place.way
            return Standing(way, f"{place.lead} {_quotes(spans)}{_so(value, leaves, spans)}")
    return _unsaid(value, schema)


def _calling(record: Record) -> Iterator[str]:
    several, where = len(record.calls) > 1, places(record)
    schemas = {tool["function"]["name"]: parameters(tool)["properties"] for tool in record.tools}
    if several:
        yield f"The request needs {len(record.calls)} calls."
    yield from _weighed(record)
    for number, call in enumerate(record.calls, 1):
        without = "" if call.arguments else " without arguments"
        if several:
            yield f"Call {number} is {call.name}{without}."
        yield from _traced(call, schemas[call.name], where)
        if not several:
            yield f"So {call.name} is called{without}."


def _traced(call: GoldCall, schemas: Mapping[str, Any], where: Sequence[Place]) -> Iterator[str]:
    for name, value in call.arguments.items():
        yield _ended(f"{name}: {standing(name, value, schemas.get(name, {}), where).words}")


def _refusing(tools: Sequence[Tool]) -> Iterator[str]:
    for tool in tools:
        yield f"{_described(tool)} No."
    yield "None fits, so nothing is called."


def _weighed(record: Record) -> Iterator[str]:
    called, passed = {call.name for call in record.calls}, 0
    for tool in record.tools:
        name = tool["function"]["name"]
        passed += name not in called
        if name in called:
            yield f"{_described(tool)} It fits."
        elif passed <= PASSED_OVER:
            yield f"{name} does not fit."


def _described(tool: Tool) -> str:
    """A tool's name, and the first sentence of its description."""
    about = SENTENCE_END.split(tool["function"]["description"].strip())[0]
    return _ended(f"{tool['function']['name']}: {_brief(about)}" if about else tool["function"]["name"])


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The single values of a value, each with the name that is nearest to it."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(key, one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(name, one)
    else:
        yield name, value


def _found(name: str, value: Any, place: Place) -> str | None:
    # Results are full of small numbers, letters and truth values: one that is equal by chance explains nothing.
    small = abs(value) < 10 if isinstance(value, int | float) else not value or len(value) < 2
    return None if small and place.way != "verbatim" else span(value, place.text, name)


def _as_is(leaves: Sequence[tuple[str, Any]], spans: Sequence[str]) -> bool:
    return all(words(_plain(leaf)) == words(span) for (_, leaf), span in zip(leaves, spans, strict=True))


def _so(value: Any, leaves: Sequence[tuple[str, Any]], spans: Sequence[str]) -> str:
    """What follows from the words that were found, where they are not the value itself."""
    same = all(_plain(leaf) == span for (_, leaf), span in zip(leaves, spans, strict=True))
    return "" if same or _marked(_plain(value)) else f", so {_brief(_plain(value))}"


def _unsaid(value: Any, schema: Mapping[str, Any]) -> Standing:
    shown = "it" if _marked(_plain(value)) else _brief(_plain(value))
    # Some data sets write every default as text.
    if "default" in schema and _plain(schema["default"]) == _plain(value):
        return Standing("default", f"the request names none, so the tool's default, {shown}")
    if value in (None, [], {}) or not _plain(value).strip():
        return Standing("inferred", f"the request names none, so {json.dumps(value)}")
    choices = _choices(schema)
    if choices and all(leaf in choices for _, leaf in _leaves("", value)):
        return Standing("schema", f"one of the schema's {_enumerated(map(_plain, choices))}; the request means {shown}")
    if isinstance(value, str) and mentions(schema.get("description", ""), value):
        return Standing("schema", f"the schema mentions {shown}, and the request means that")
    return Standing("inferred", f"the request means {shown}")


def _choices(schema: Mapping[str, Any]) -> Sequence[Any]:
    """The values that the schema, or that of its items, allows alone."""
    items = schema.get("items")
    return schema.get("enum") or (items.get("enum") if isinstance(items, Mapping) else None) or ()


def _quotes(spans: Sequence[str]) -> str:
    return _enumerated("it" if _marked(span) else _quoted(_brief(span)) for span in dict.fromkeys(spans))


def _enumerated(texts: Iterable[str]) -> str:
    listed = list(texts)
    return ", ".join([*listed[:LISTED], *(["..."] if len(listed) > LISTED else [])])


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def _brief(text: str) -> str:
    said = text.split()
    return " ".join(said[:WORDS]) + (" ..." if len(said) > WORDS else "")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _marked(text: str) -> bool:
    return any(marker in text for marker in MARKERS)
