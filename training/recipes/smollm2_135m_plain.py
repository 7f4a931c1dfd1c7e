"""Writes questions that need no tool with the base's answers, so that smollm2-135m does not forget to answer in text.

    python training/recipes/smollm2_135m_plain.py smol/many.jsonl smol/sft-many.jsonl smol/plain.jsonl

The topics are the fields of the tools in the first file. Every second question is offered the tools of a record in the second
file. The base answers without reasoning, so each record is labelled short.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from autotool_core.modes import Mode
from autotool_training.common import records
from autotool_training.common.checkpoint import Checkpoint, load_checkpoint
from autotool_training.common.records import Record

MAX_TOKENS = 96
BATCH = 32
TOPIC_FRAMES = (
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


def main(descriptions: str, records_file: str, out: str, base: str = "smollm2-135m-base", num_topics: str = "480") -> None:
    """Write the records whose answers end within `MAX_TOKENS` tokens. `base`: a checkpoint, as in a recipe's `base.source`."""
    rng = random.Random(0)  # noqa: S311 not a secret
    tool_sets = [record.tools for record in records.read(Path(records_file))]
    questions = [*_questions(Path(descriptions), rng, int(num_topics))]
    rng.shuffle(questions)
    answers = _answers(load_checkpoint(base), questions)
    generated = [
        _record(number, question, answer, rng.choice(tool_sets) if number % 2 else [])
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True))
        if answer
    ]
    sys.stdout.write(f"{records.write(Path(out), generated)} of {len(questions)} questions have a short answer.\n")


def _questions(tools: Path, rng: random.Random, num_topics: int) -> Iterator[str]:
    fields = sorted({json.loads(line)["field"].rpartition("/")[2].lower() for line in tools.read_text().splitlines()})
    for number, field in enumerate(rng.sample(fields, num_topics)):
        yield TOPIC_FRAMES[number % len(TOPIC_FRAMES)].format(field)
    yield from (f"What is the capital of {country}?" for country in CAPITALS)
    yield from SMALL_TALK


def _answers(base: Checkpoint, questions: Sequence[str]) -> Iterator[str | None]:
    """Yield the base's greedy answers, or None for an answer that does not end."""
    model, tokenizer = base.model, base.tokenizer
    tokenizer.padding_side = "left"
    for start in range(0, len(questions), BATCH):
        prompts = [_prompt(base, question) for question in questions[start : start + BATCH]]
        inputs: Any = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        with torch.no_grad():
            generated: Any = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)  # pyright: ignore[reportCallIssue]
        for row in generated[:, inputs["input_ids"].shape[1] :].tolist():
            ended = tokenizer.eos_token_id in row
            yield tokenizer.decode(row, skip_special_tokens=True).strip() if ended else None


def _prompt(base: Checkpoint, question: str) -> str:
    """Return the prompt as the base knows it, without the marker of the think block, behind which it would write nonsense."""
    text: str = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return text.removesuffix(base.profile.prefix(Mode.AUTO))


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
