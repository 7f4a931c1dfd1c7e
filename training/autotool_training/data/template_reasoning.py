"""Writes template reasoning from the gold calls, for records whose source has no reasoning.

The reasoning compares each offered tool with the request, then states the provenance of each argument: the user's words, a
tool's result, the rest of the conversation, or the schema. For a value without a source it states that the request means it,
and invents no derivation. The same record always gets the same reasoning.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.grounding import find_span, mentions
from autotool_training.data.overlap import words
from autotool_training.data.quality import MARKERS
from autotool_training.data.sources.tools import Tool, parameters

ProvenanceKind = Literal["verbatim", "derived", "result", "conversation", "default", "schema", "inferred"]

MAX_REJECTED_TOOLS = 3
"""The maximum number of tools that are named although they are not called."""
MAX_WORDS = 12
"""The maximum number of words of a description or of a value."""
MAX_LISTED = 5
"""The maximum number of values of an enum or items of a list."""
SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)[.!?](?=\s+[A-Z])|\n")


@dataclass(frozen=True, slots=True)
class Provenance:
    """The source of the value of an argument."""

    kind: ProvenanceKind
    clause: str
    """A clause of the reasoning that names the source."""


@dataclass(frozen=True, slots=True)
class TextSource:
    """A text that may contain a value."""

    kind: ProvenanceKind
    """The provenance of a value that the text contains literally."""
    lead: str
    """The words that introduce a quotation from the text."""
    text: str


def write_reasoning(record: Record) -> str:
    """Return a few sentences that lead to the record's calls, or to none, without a marker of the format."""
    sentences = _call_sentences(record) if record.calls else _refusal_sentences(record.tools)
    return " ".join(sentence for sentence in sentences if not _has_marker(sentence))


def text_sources(record: Record) -> list[TextSource]:
    """Return the texts to search for values, in order: the user's words, results, the rest; latest messages first."""
    messages = record.messages[::-1]
    names = {call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls", ())}
    request = "\n".join(message["content"] for message in messages if message["role"] == "user")
    results = [
        TextSource("result", f"the result of {names[message['tool_call_id']]} gives", message["content"])
        for message in messages
        if message["role"] == "tool"
    ]
    leads = {"system": "the system message says", "assistant": "the conversation says"}
    rest = [
        TextSource("conversation", leads[message["role"]], message["content"])
        for message in messages
        if message["role"] in leads
    ]
    return [TextSource("verbatim", "the request says", request), *results, *rest]


def find_provenance(name: str, value: Any, schema: Mapping[str, Any], sources: Sequence[TextSource]) -> Provenance:
    """Return the provenance of a parameter's value. All parts of a list or an object must come from one source."""
    leaves = list(_leaves(name, value))
    for source in sources:
        spans = [match for part, leaf in leaves if (match := _find_in(part, leaf, source))]
        if leaves and len(spans) == len(leaves):
            kind = "derived" if source.kind == "verbatim" and not _is_verbatim(leaves, spans) else source.kind
            return Provenance(kind, f"{source.lead} {_quotes(spans)}{_conclusion(value, leaves, spans)}")
    return _ungrounded(value, schema)


def _call_sentences(record: Record) -> Iterator[str]:
    several, sources = len(record.calls) > 1, text_sources(record)
    schemas = {tool["function"]["name"]: parameters(tool).get("properties", {}) for tool in record.tools}
    if several:
        yield f"The request needs {len(record.calls)} calls."
    yield from _tool_sentences(record)
    for number, call in enumerate(record.calls, 1):
        without = "" if call.arguments else " without arguments"
        if several:
            yield f"Call {number} is {call.name}{without}."
        yield from _argument_sentences(call, schemas[call.name], sources)
        if not several:
            yield f"So {call.name} is called{without}."


def _argument_sentences(call: GoldCall, schemas: Mapping[str, Any], sources: Sequence[TextSource]) -> Iterator[str]:
    for name, value in call.arguments.items():
        yield _with_period(f"{name}: {find_provenance(name, value, schemas.get(name, {}), sources).clause}")


def _refusal_sentences(tools: Sequence[Tool]) -> Iterator[str]:
    for tool in tools:
        yield f"{_tool_description(tool)} No."
    yield "None fits, so nothing is called."


def _tool_sentences(record: Record) -> Iterator[str]:
    called, rejected = {call.name for call in record.calls}, 0
    for tool in record.tools:
        name = tool["function"]["name"]
        rejected += name not in called
        if name in called:
            yield f"{_tool_description(tool)} It fits."
        elif rejected <= MAX_REJECTED_TOOLS:
            yield f"{name} does not fit."


def _tool_description(tool: Tool) -> str:
    """Return a tool's name and the first sentence of its description."""
    about = SENTENCE_END.split((tool["function"].get("description") or "").strip())[0]
    return _with_period(f"{tool['function']['name']}: {_truncated(about)}" if about else tool["function"]["name"])


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the scalar values within a value, each with the innermost name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(key, item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(name, item)
    else:
        yield name, value


def _find_in(name: str, value: Any, source: TextSource) -> str | None:
    # Results contain many small numbers, letters and booleans, so a match of such a value may be a coincidence.
    small = abs(value) < 10 if isinstance(value, int | float) else not value or len(value) < 2
    return None if small and source.kind != "verbatim" else find_span(value, source.text, name)


def _is_verbatim(leaves: Sequence[tuple[str, Any]], spans: Sequence[str]) -> bool:
    return all(words(_as_text(leaf)) == words(span) for (_, leaf), span in zip(leaves, spans, strict=True))


def _conclusion(value: Any, leaves: Sequence[tuple[str, Any]], spans: Sequence[str]) -> str:
    """Return a clause with the value that follows from the spans, or nothing if they are the value itself."""
    same = all(_as_text(leaf) == span for (_, leaf), span in zip(leaves, spans, strict=True))
    return "" if same or _has_marker(_as_text(value)) else f", so {_truncated(_as_text(value))}"


def _ungrounded(value: Any, schema: Mapping[str, Any]) -> Provenance:
    shown = "it" if _has_marker(_as_text(value)) else _truncated(_as_text(value))
    # Some data sets write every default as text, so both are compared as text.
    if "default" in schema and _as_text(schema["default"]) == _as_text(value):
        return Provenance("default", f"the request names none, so the tool's default, {shown}")
    if value in (None, [], {}) or not _as_text(value).strip():
        return Provenance("inferred", f"the request names none, so {json.dumps(value)}")
    choices = _enum_values(schema)
    if choices and all(leaf in choices for _, leaf in _leaves("", value)):
        return Provenance("schema", f"one of the schema's {_comma_list(map(_as_text, choices))}; the request means {shown}")
    if isinstance(value, str) and mentions(schema.get("description", ""), value):
        return Provenance("schema", f"the schema mentions {shown}, and the request means that")
    return Provenance("inferred", f"the request means {shown}")


def _enum_values(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Return the enum of the schema or of its items, or nothing."""
    items = schema.get("items")
    return schema.get("enum") or (items.get("enum") if isinstance(items, Mapping) else None) or ()


def _quotes(spans: Sequence[str]) -> str:
    return _comma_list("it" if _has_marker(span) else _quoted(_truncated(span)) for span in dict.fromkeys(spans))


def _comma_list(texts: Iterable[str]) -> str:
    listed = list(texts)
    return ", ".join([*listed[:MAX_LISTED], *(["..."] if len(listed) > MAX_LISTED else [])])


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def _truncated(text: str) -> str:
    text_words = text.split()
    return " ".join(text_words[:MAX_WORDS]) + (" ..." if len(text_words) > MAX_WORDS else "")


def _with_period(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _has_marker(text: str) -> bool:
    return any(marker in text for marker in MARKERS)
