"""Finds duplicate records and records that overlap with an evaluation set.

Two records are duplicates if their conversations and gold calls are equal, regardless of punctuation and case.

A record overlaps with an evaluation set if one of its user messages shares n consecutive words with an evaluation text. A
request or an evaluation text of fewer words overlaps if the other contains it completely. This rule holds for the first message
of a conversation and from three words on, because replies such as "Yes, please go ahead" occur everywhere.

n = 8 was chosen by a measurement against BFCL, API-Bank, ACEBench and Seal-Tools out of domain. Of the 2,450 distinct user
messages in ToolRL's mix, Glaive, `reason_tool_use` and Seal-Tools, 630 match with n = 7, 348 with 8, 109 with 10 and 24 with 13
(of SGD's 83,143: 1480, 370, 27, 1). Of 20 inspected matches, 12 with n = 7, 8 with 8 and 7 with 10 were common phrases such as
"could you please provide me with the current". So 8 is a good balance between missed overlaps and needless drops. Weaker
rules for short requests (three quarters of their trigrams in one text) matched nothing but phrases.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record

WORD = re.compile(r"\w+")
MIN_WORDS = 3
"""The minimum number of words of a text that can be recognized."""


@lru_cache(maxsize=1 << 16)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case. They are cached because a history is repeated with every answer."""
    return tuple(WORD.findall(text.lower()))


def deduplication_key(record: Record) -> int:
    """Return a key that is equal for duplicate records."""
    history = tuple((message["role"], words(message["content"]), _call_arguments(message)) for message in record.messages)
    calls = tuple(sorted(Call(call.name, call.arguments).canonical() for call in record.calls))
    return hash((history, calls))


class EvaluationTexts:
    """The texts of evaluation sets, indexed by n consecutive words."""

    def __init__(self, texts: Iterable[str], n: int) -> None:
        self._n = n
        self._ngrams: set[tuple[str, ...]] = set()
        self._short: set[tuple[str, ...]] = set()
        whole: list[str] = []
        for text in texts:
            text_words = words(text)
            whole.append(" ".join(text_words))
            self._ngrams.update(_ngrams(text_words, n))
            if MIN_WORDS <= len(text_words) < n:
                self._short.add(text_words)
        self._whole = f" {' | '.join(whole)} "

    def overlaps(self, record: Record) -> bool:
        """Return whether the record overlaps with an evaluation text."""
        requests = [words(message["content"]) for message in record.messages if message["role"] == "user"]
        return any(
            ngram in self._ngrams for request in requests for ngram in _ngrams(request, self._n)
        ) or self._opening_overlaps(requests[0])

    def _opening_overlaps(self, request: tuple[str, ...]) -> bool:
        if MIN_WORDS <= len(request) < self._n and f" {' '.join(request)} " in self._whole:
            return True
        return any(ngram in self._short for length in range(MIN_WORDS, self._n) for ngram in _ngrams(request, length))


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Yield evaluation texts from files: one per line, or in .jsonl files one JSON string or `{"text": ...}` per line.

    Raises AutoToolError with the file and the line.
    """
    for path in paths:
        if not path.is_file():
            raise AutoToolError(f"--against {path}: there is no such file.")
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _json_text(line, path, number) if path.suffix == ".jsonl" else line


def _call_arguments(message: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(call["function"]["arguments"] for call in message.get("tool_calls", ()))


def _json_text(line: str, path: Path, number: int) -> str:
    try:
        value = json.loads(line)
        text = value["text"] if isinstance(value, dict) else value
    except (ValueError, KeyError):
        text = None
    if not isinstance(text, str):
        raise AutoToolError(f'{path}, line {number}: write a JSON string or {{"text": ...}} a line.')
    return text


def _ngrams(text_words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(text_words[start : start + length]) for start in range(len(text_words) - length + 1))
