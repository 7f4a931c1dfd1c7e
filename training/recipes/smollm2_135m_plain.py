"""Questions that need no tool, as the base answers them: what training on calls alone would take away from smollm2-135m.

    python training/recipes/smollm2_135m_plain.py smol/many.jsonl smol/sft-many.jsonl smol/plain.jsonl

Topics are fields of the tools in the first file; every second question is offered the tools of a record of the second.
The answers are the base's words, which no thought led to, so each record is labelled short.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from autotool_training.common import records
from autotool_training.common.checkpoint import Checkpoint, load_checkpoint
from autotool_training.common.records import Record

TOPICS = 480
MAX_TOKENS = 96
BATCH = 32
ABOUT = (
    "What is {}?",
    "Explain {} in one sentence.",
    "Write two lines of verse about {}.",
    "Name one thing that people who work in {} do.",
    "Why do people care about {}?",
    "Give me a short tip for someone who starts with {}.",
)
CAPITALS = [
    "Spain",
    "Italy",
    "Japan",
    "Egypt",
    "Canada",
    "Peru",
    "Norway",
    "Kenya",
    "Greece",
    "Portugal",
    "India",
    "Chile",
    "Austria",
    "Poland",
    "Cuba",
    "Ireland",
]
SMALL_TALK = ("Hi!", "Hello, how are you?", "Thank you very much!", "Who are you?", "Good morning.", "Can you help me?", "Bye!")


def main(tools: str, offers: str, out: str) -> None:
    """Write the records whose answer ends within `MAX_TOKENS`."""
    draw = random.Random(0)  # noqa: S311 not a secret
    offered = [one.tools for one in records.read(Path(offers))]
    asked = [*_questions(Path(tools), draw)]
    draw.shuffle(asked)
    answers = _answers(load_checkpoint("default-base"), asked)
    made = [
        _record(number, question, answer, draw.choice(offered) if number % 2 else [])
        for number, (question, answer) in enumerate(zip(asked, answers, strict=True))
        if answer
    ]
    sys.stdout.write(f"{records.write(Path(out), made)} of {len(asked)} questions have a short answer.\n")


def _questions(tools: Path, draw: random.Random) -> Iterator[str]:
    fields = sorted({json.loads(line)["field"].rpartition("/")[2].lower() for line in tools.read_text().splitlines()})
    for number, field in enumerate(draw.sample(fields, TOPICS)):
        yield ABOUT[number % len(ABOUT)].format(field)
    yield from (f"What is the capital of {country}?" for country in CAPITALS)
    yield from SMALL_TALK


def _answers(base: Checkpoint, asked: Sequence[str]) -> Iterator[str | None]:
    """The base's own words, greedy; None for an answer that did not end."""
    model, tokenizer = base.model, base.tokenizer
    tokenizer.padding_side = "left"
    for start in range(0, len(asked), BATCH):
        turns = [[{"role": "user", "content": one}] for one in asked[start : start + BATCH]]
        given: Any = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            made: Any = model.generate(**given, max_new_tokens=MAX_TOKENS, do_sample=False)  # pyright: ignore[reportCallIssue]
        for row in made[:, given["input_ids"].shape[1] :].tolist():
            ended = tokenizer.eos_token_id in row
            yield tokenizer.decode(row, skip_special_tokens=True).strip() if ended else None


def _record(number: int, question: str, answer: str, tools: list[dict[str, Any]]) -> Record:
    return Record(
        id=f"plain/{number}",
        tools=tools,
        messages=[{"role": "user", "content": question}],
        calls=[],
        content=answer,
        reasoning="The request asks for nothing that a tool would be needed for: it can be answered in words.",
        source="plain",
        licence="Apache-2.0",
        label="short",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
