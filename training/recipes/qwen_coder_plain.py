"""Makes records of questions that need no tool, answered by the base's server, so that the model goes on to talk as it did.

    autotool serve --model qwen2.5-coder-0.5b-base --engine vllm &
    python training/recipes/qwen_coder_plain.py coder/many.jsonl coder/api-many.jsonl http://localhost:8000/v1 coder/plain.jsonl

The questions are about the subjects of the tools in the first file, and those of `FRAMES`. None is one of
plain_questions.jsonl, with which some share a template. Every third is offered the tools of a record in the second file. The
label is short.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from autotool_training.common import records
from autotool_training.common.records import Record
from plain_questions import QUESTIONS, has_word
from qwen_coder_plain_words import (
    ANIMALS,
    CODE_LANGUAGES,
    FACTS,
    GOALS,
    MISTAKES,
    MORE_SMALL_TALK,
    PAIRS,
    REASONS,
    RUDE,
    SUMS,
    TASKS,
    WORDS,
)
from qwen_coder_turns import CONCURRENCY, server
from smollm2_135m_plain import CAPITALS, SMALL_TALK, TOPIC_FRAMES

TOOL_SETS = 12
"""The number of lists of tools among those that are offered: SFT computes each of them once."""
EVERY = 3
REFUSAL = "can't assist with that"
"""What the base says to many questions that it could answer."""
NUMBER_OF_SUMS = 40
MAX_TOKENS = 160
LANGUAGES = ("Spanish", "French", "German", "Italian")
FRAMES: Mapping[str, Sequence[str]] = {
    **{f'How do you say "{{}}" in {language}?': WORDS for language in LANGUAGES},
    "What is the capital of {}?": CAPITALS,
    "Write a function in Python that {}.": TASKS,
    "How do I write a loop in {}?": CODE_LANGUAGES,
    "What is {} used for?": CODE_LANGUAGES,
    "Do you know a joke about {}?": ANIMALS,
    "What could I call my {}?": ANIMALS,
    "Write a sentence with the word {}.": ANIMALS,
    "Where do {} live?": ANIMALS,
    "How can I {}?": GOALS,
    "Give me three ideas how to {}.": GOALS,
    "Why {}?": REASONS,
    "What is the difference between {}?": PAIRS,
    "Correct this sentence: {}": MISTAKES,
    "Rewrite this more politely: {}": RUDE,
    "{}": (*SMALL_TALK, *MORE_SMALL_TALK, *FACTS),
}
"""Questions, and what their gaps are filled with."""
TOPICS = 320
MORE_TOPIC_FRAMES = (
    "Tell me a fact about {}.",
    "Write a title for an article about {}.",
    "Give two reasons to learn about {}.",
    "Ask me a question about {}.",
    "List three words that have to do with {}.",
)


def main(descriptions: str, requests: str, url: str, out: str) -> None:
    """Write the answers that end within the limit, without refusals and wrong sums."""
    rng = random.Random(0)  # noqa: S311 not a secret
    tool_sets = [record.tools for record in records.read(Path(requests))]
    offered = rng.sample(tool_sets, TOOL_SETS)
    asked = [*_questions(Path(descriptions), rng)]
    rng.shuffle(asked)
    turns = [_record(number, question, offered) for number, (question, _) in enumerate(asked)]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        answers = [*pool.map(server(url, MAX_TOKENS), turns)]
    kept = [
        turn.model_copy(update={"content": text})
        for turn, (_, result), text in zip(turns, asked, answers, strict=True)
        if text and REFUSAL not in text and (not result or has_word(text, result))
    ]
    sys.stdout.write(f"{records.write(Path(out), kept)} of {len(asked)} questions have a short, right answer.\n")


def _questions(descriptions: Path, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield each question with the result that its answer must have; empty where there is none to check."""
    tested = {json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()}
    asked = [*_sums(rng), *((question, "") for question in _plain_questions(descriptions, rng))]
    yield from ((question, result) for question, result in asked if question not in tested)


def _sums(rng: random.Random) -> Iterator[tuple[str, str]]:
    for frame, result in SUMS.items():
        for _ in range(NUMBER_OF_SUMS):
            pair = rng.randint(11, 99), rng.randint(2, 12)
            yield frame.format(*pair), str(result(*pair))


def _plain_questions(descriptions: Path, rng: random.Random) -> Iterator[str]:
    rows = [json.loads(line) for line in descriptions.read_text(encoding="utf-8").splitlines()]
    fields = sorted({row["field"].rpartition("/")[2].lower() for row in rows})
    frames = (*TOPIC_FRAMES, *MORE_TOPIC_FRAMES)
    for number, field in enumerate(rng.sample(fields, TOPICS)):
        yield frames[number % len(frames)].format(field)
    for frame, words in FRAMES.items():
        yield from map(frame.format, words)


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
