"""The curriculum of a tiny base: single tables, derivations, requests, then whole graded tasks in both modes.

It goes from short texts to long ones: a model that gets tables among a hundred other tokens from the start has not learned
to look up a value after 17 million tokens (docs/experiments/2026-11-23-tiny-model-look-ups.md).
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autotool_core.graded import LEVELS, make
from autotool_core.modes import ResolvedMode
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import IGNORE_INDEX, ExampleWriter
from autotool_training.data.sources import graded, graded_free
from autotool_training.scratch import synthetic_texts as texts
from autotool_training.scratch.synthetic_texts import SyntheticText

POOL = 8
"""Batches that are made together and sorted by length, so that little of them is padding."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """A text as token ids and labels."""

    ids: list[int]
    labels: list[int]
    """Labels, as many as ids: the token if it has loss, else IGNORE_INDEX."""


@dataclass(frozen=True, slots=True)
class CurriculumStage:
    """A number of steps on one type of text."""

    sequence: Callable[[int], TokenSequence]
    """Returns the sequence with an index."""
    batch: int
    steps: int
    """All steps of the stage, or the maximum if there is a `goal`."""
    goal: float | None = None
    """Mean loss (nats a token) that ends the stage."""

    def batches(self, seed: int, start: int) -> Iterator[list[TokenSequence]]:
        """Yield the batch of each step from `start` on, which is always the same for a step."""
        for pool in range(start // POOL, -(-self.steps // POOL)):
            first = pool * POOL * self.batch
            sequences = [self.sequence(first + index) for index in range(POOL * self.batch)]
            sequences.sort(key=lambda sequence: len(sequence.ids))
            batches = [sequences[index : index + self.batch] for index in range(0, len(sequences), self.batch)]
            random.Random(f"order/{seed}/{pool}").shuffle(batches)  # noqa: S311 not a secret
            first_step = pool * POOL
            yield from batches[max(0, start - first_step) : self.steps - first_step]


class CurriculumSettings(BaseModel):
    """Steps and batch sizes of each stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table_steps: int = Field(default=2000, ge=0)
    """Maximum steps on single tables of two rows, and again of three; 0, here and below, leaves a stage out."""
    table_batch: int = Field(default=64, ge=1)
    """Tables of a step. With a quarter of it the model does not reach the goal."""
    table_goal: float | None = 0.02
    """Loss (nats a token) that ends them; None: all steps are made."""
    asked_first_steps: int = Field(default=0, ge=0)
    """Maximum steps on look-ups that precede their table: in longer texts they may stay at chance
    (docs/experiments/2026-11-26-look-ups-before-the-table.md)."""
    asked_first_batch: int = Field(default=64, ge=1)
    asked_first_goal: float | None = 0.05
    derivation_steps: int = Field(default=3000, ge=0, alias="drill_steps")
    """Maximum steps on derivations."""
    derivation_batch: int = Field(default=16, ge=1, alias="drill_batch")
    derivation_goal: float | None = Field(default=0.1, alias="drill_goal")
    request_steps: int = Field(default=1000, ge=0)
    """Steps on the values of whole requests."""
    request_batch: int = Field(default=16, ge=1)
    single_request_steps: int = Field(default=0, ge=0)
    """Steps on texts with one request, as a task has it. In half of them it precedes its tables (see `asked_first_steps`)."""
    single_request_batch: int = Field(default=64, ge=1)
    task_steps: int = Field(default=3000, ge=0)
    task_batch: int = Field(default=32, ge=1)
    long_every: int = Field(default=3, ge=1)
    """One of so many tasks is answered with reasoning: short answers take longer to learn, and cost less."""
    free_thoughts: bool = False
    """Reason about tasks in free thoughts (`data.free_thoughts`) instead of in the gold reasoning."""
    short_calculations: int = Field(default=len(texts.CALCULATIONS), ge=1)
    """Maximum calculations of an answer without reasoning, so that a model may need reasoning for more."""


def curriculum(base: Checkpoint, settings: CurriculumSettings, seed: int) -> list[CurriculumStage]:
    """Return the stages in their order."""
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)

    def stage(text: Callable[[int, int], SyntheticText], batch: int, steps: int, goal: float | None = None) -> CurriculumStage:
        return CurriculumStage(lambda index: text_tokens(text(seed, index), base.tokenizer), batch, steps, goal)

    limited = {"max_calculations": settings.short_calculations}
    stages = (
        stage(partial(texts.single_table, rows=2), settings.table_batch, settings.table_steps, settings.table_goal),
        stage(partial(texts.single_table, rows=3), settings.table_batch, settings.table_steps, settings.table_goal),
        stage(texts.asked_first, settings.asked_first_batch, settings.asked_first_steps, settings.asked_first_goal),
        stage(texts.derivation, settings.derivation_batch, settings.derivation_steps, settings.derivation_goal),
        stage(partial(texts.requests, **limited), settings.request_batch, settings.request_steps),
        stage(partial(texts.single_request, **limited), settings.single_request_batch, settings.single_request_steps),
        CurriculumStage(lambda index: task_tokens(seed, index, writer, settings), settings.task_batch, settings.task_steps),
    )
    return [stage for stage in stages if stage.steps]


def text_tokens(text: SyntheticText, tokenizer: Any) -> TokenSequence:
    """Return a text with loss on the values alone: the words of phrases are not predictable, and would hide their signal."""

    def encode(part: str) -> list[int]:
        return tokenizer.encode(part, add_special_tokens=False)

    ids = encode(text.tables)
    labels = [IGNORE_INDEX] * len(ids)
    for phrase, value in text.answers:
        phrase_ids, value_ids = encode(f" {phrase}"), encode(f" {value}.")
        ids += [*phrase_ids, *value_ids]
        labels += [*[IGNORE_INDEX] * len(phrase_ids), *value_ids]
    return TokenSequence(ids, labels)


def task_tokens(seed: int, index: int, writer: ExampleWriter, settings: CurriculumSettings) -> TokenSequence:
    """Return a graded task of the train split, with levels and modes in turn, and loss on the answer.

    The decision token has no loss, because the mode does not depend on what the task needs.
    """
    turn, level = divmod(index, len(LEVELS))
    task = make("train", LEVELS[level], seed, index)
    is_short = turn % settings.long_every and texts.calculations(task) <= settings.short_calculations
    record = (graded_free if settings.free_thoughts else graded).record(task)
    example = writer.example(record, ResolvedMode.SHORT if is_short else ResolvedMode.LONG)
    unlabelled = [IGNORE_INDEX] * (len(example.prompt_ids) + 1)
    return TokenSequence([*example.prompt_ids, *example.response_ids], [*unlabelled, *example.response_ids[1:]])
