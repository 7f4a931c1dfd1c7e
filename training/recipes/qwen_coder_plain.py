"""Makes records of questions that need no tool, answered by the base's server, so that the model goes on to talk as it did.

    autotool serve --model qwen2.5-coder-0.5b-base --engine vllm &
    python training/recipes/qwen_coder_plain.py coder/many.jsonl coder/api-many.jsonl http://localhost:8000/v1 coder/plain.jsonl

The questions are about the subjects of the tools in the first file, sums, words in other languages, capitals and small talk;
none is one of plain_questions.jsonl, with which some share a template. Every fifth is offered the tools of a record in the
second file. The label is short.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from autotool_training.common import records
from autotool_training.common.records import Record
from plain_questions import QUESTIONS
from qwen_coder_turns import CONCURRENCY, server
from smollm2_135m_plain import CAPITALS, SMALL_TALK, TOPIC_FRAMES

TOPICS = 130
TOOL_SETS = 8
"""The number of lists of tools among those that are offered: SFT computes each of them once."""
EVERY = 5
SUMS = ("What is {} + {}?", "What is {} minus {}?", "What is {} times {}?", "Add {} and {}.")
LANGUAGES = ("Spanish", "French", "German", "Italian")
WORDS = ("bread", "house", "please", "good night", "friend", "red", "seven", "book", "I am tired", "see you tomorrow")


def main(descriptions: str, requests: str, url: str, out: str) -> None:
    """Write the answers that end within the limit."""
    rng = random.Random(0)  # noqa: S311 not a secret
    tool_sets = [record.tools for record in records.read(Path(requests))]
    offered = rng.sample(tool_sets, TOOL_SETS)
    asked = [*_questions(Path(descriptions), rng)]
    rng.shuffle(asked)
    turns = [_record(number, question, offered) for number, question in enumerate(asked)]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        answers = pool.map(server(url), turns)
        kept = [turn.model_copy(update={"content": text}) for turn, text in zip(turns, answers, strict=True) if text]
    sys.stdout.write(f"{records.write(Path(out), kept)} of {len(asked)} questions have a short answer.\n")


def _questions(descriptions: Path, rng: random.Random) -> Iterator[str]:
    tested = {json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()}
    yield from (question for question in _all_questions(descriptions, rng) if question not in tested)


def _all_questions(descriptions: Path, rng: random.Random) -> Iterator[str]:
    rows = [json.loads(line) for line in descriptions.read_text(encoding="utf-8").splitlines()]
    fields = sorted({row["field"].rpartition("/")[2].lower() for row in rows})
    for number, field in enumerate(rng.sample(fields, TOPICS)):
        yield TOPIC_FRAMES[number % len(TOPIC_FRAMES)].format(field)
    for number in range(40):
        yield SUMS[number % len(SUMS)].format(rng.randint(11, 99), rng.randint(2, 12))
    yield from (f'How do you say "{word}" in {language}?' for word in WORDS for language in LANGUAGES)
    yield from (f"What is the capital of {country}?" for country in CAPITALS)
    yield from SMALL_TALK


def _record(number: int, question: str, offered: Sequence[list[dict[str, Any]]]) -> Record:
    return Record(
        id=f"plain/{number}",
        tools=[] if number % EVERY else offered[number // EVERY % len(offered)],
        messages=[{"role": "user", "content": question}],
        calls=[],
        source="plain",
        licence="Apache-2.0",
        label="short",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
