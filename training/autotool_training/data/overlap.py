"""Records that are there twice, and records that an evaluation set holds too.

Two records are the same if their conversations and gold calls are, words apart from punctuation and case.

A record overlaps with an evaluation set if a message of its user has n words in a row with an evaluation text. A request of
fewer words, or an evaluation text of fewer, overlaps if one stands whole in the other: as the message that opens the
conversation only, because replies such as "Yes, please go ahead" are the same everywhere, and from three words on.

Measured against BFCL, API-Bank, ACEBench and Seal-Tools out of domain: of the 2,450 different messages of users in ToolRL's
mix, Glaive, `reason_tool_use` and Seal-Tools, 630 are hit with n = 7, 348 with 8, 109 with 10 and 24 with 13 (of SGD's 83,143:
1480, 370, 27, 1). Of 20 hits looked at, common phrases ("could you please provide me with the current") were 12 with n = 7,
8 with 8 and 7 with 10: so 8 is where a hit tells most often of the same request, and what it drops for nothing is little.
Weaker rules for short requests (three quarters of their trigrams in one text) hit nothing but phrases.
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
"""Words of the shortest text that can be known again."""


@lru_cache(maxsize=1 << 16)
def words(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case. A history comes again with every answer, hence the cache."""
    return tuple(WORD.findall(text.lower()))


def deduplication_key(record: Record) -> int:
    """Equal for records that are the same."""
    history = tuple((message["role"], words(message["content"]), _call_arguments(message)) for message in record.messages)
    calls = tuple(sorted(Call(call.name, call.arguments).canonical() for call in record.calls))
    return hash((history, calls))


class EvaluationTexts:
    """The texts of evaluation sets, indexed by n words in a row."""

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
        """Whether the record must not be trained on."""
        requests = [words(message["content"]) for message in record.messages if message["role"] == "user"]
        return any(
            ngram in self._ngrams for request in requests for ngram in _ngrams(request, self._n)
        ) or self._opening_overlaps(requests[0])

    def _opening_overlaps(self, request: tuple[str, ...]) -> bool:
        if MIN_WORDS <= len(request) < self._n and f" {' '.join(request)} " in self._whole:
            return True
        return any(ngram in self._short for length in range(MIN_WORDS, self._n) for ngram in _ngrams(request, length))


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Evaluation texts of files: one a line, or with the suffix .jsonl one JSON string or `{"text": ...}` a line.

    Raises AutoToolError naming file and line.
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
