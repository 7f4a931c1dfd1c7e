"""What a tiny base practises, one lesson after the other: single tables, drills, requests, whole graded tasks in both modes.

From short texts to long ones: a model that meets tables among a hundred other tokens from the start has not learnt to look
anything up after 17 million tokens (docs/log.md).
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
from autotool_training.data.sources import graded
from autotool_training.scratch.synthetic_texts import (
    CALCULATIONS,
    Drill,
    asked_first,
    calculations,
    drill,
    requests,
    single_request,
    single_table,
)

POOL = 8
"""Batches that are made together and sorted by length, so that little of them is padding."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text as the model learns it."""

    ids: list[int]
    labels: list[int]
    """Of the same length: the token where there is loss on it, else IGNORE_INDEX."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Some steps of one kind of text."""

    row: Callable[[int], Row]
    """The text of a number."""
    batch: int
    steps: int
    """All of them; where there is a `goal`, the most."""
    goal: float | None = None
    """Mean loss (nats a token) that ends the lesson."""

    def batches(self, seed: int, start: int) -> Iterator[list[Row]]:
        """What each step from `start` on sees: always the same for a step."""
        for pool in range(start // POOL, -(-self.steps // POOL)):
            first = pool * POOL * self.batch
            rows = sorted((self.row(first + at) for at in range(POOL * self.batch)), key=lambda row: len(row.ids))
            parts = [rows[at : at + self.batch] for at in range(0, len(rows), self.batch)]
            random.Random(f"order/{seed}/{pool}").shuffle(parts)  # noqa: S311 not a secret
            begin = pool * POOL
            yield from parts[max(0, start - begin) : self.steps - begin]


class LessonSettings(BaseModel):
    """How much of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table_steps: int = Field(default=2000, ge=0)
    """Most steps on single tables of two rows, and again of three; 0, here and below, leaves a lesson out."""
    table_batch: int = Field(default=64, ge=1)
    """Tables of a step. With a quarter of it the model does not get there."""
    table_goal: float | None = 0.02
    """Loss (nats a token) that ends them; None: all steps are made."""
    asked_first_steps: int = Field(default=0, ge=0)
    """Most steps on look-ups that are asked for before their table: in longer texts they may stay at chance (docs/log.md)."""
    asked_first_batch: int = Field(default=64, ge=1)
    asked_first_goal: float | None = 0.05
    drill_steps: int = Field(default=3000, ge=0)
    """Most steps on drills."""
    drill_batch: int = Field(default=16, ge=1)
    drill_goal: float | None = 0.1
    request_steps: int = Field(default=1000, ge=0)
    """Steps on the values of whole requests."""
    request_batch: int = Field(default=16, ge=1)
    single_request_steps: int = Field(default=0, ge=0)
    """Steps on texts with one request, as a task has it. Half of them stand before their tables (see `asked_first_steps`)."""
    single_request_batch: int = Field(default=64, ge=1)
    task_steps: int = Field(default=3000, ge=0)
    task_batch: int = Field(default=32, ge=1)
    long_every: int = Field(default=3, ge=1)
    """One of so many tasks is answered with reasoning: short answers take longer to learn, and cost less."""
    short_calculations: int = Field(default=len(CALCULATIONS), ge=1)
    """Most calculations of what is answered without reasoning. Where there are more, the model is left to need it."""


def lessons(base: Checkpoint, settings: LessonSettings, seed: int) -> list[Lesson]:
    """The lessons, in their order."""
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)

    def drilled(text: Callable[[int, int], Drill], batch: int, steps: int, goal: float | None = None) -> Lesson:
        return Lesson(lambda at: drill_row(text(seed, at), base.tokenizer), batch, steps, goal)

    most = settings.short_calculations
    all_of_them = (
        drilled(partial(single_table, rows=2), settings.table_batch, settings.table_steps, settings.table_goal),
        drilled(partial(single_table, rows=3), settings.table_batch, settings.table_steps, settings.table_goal),
        drilled(asked_first, settings.asked_first_batch, settings.asked_first_steps, settings.asked_first_goal),
        drilled(drill, settings.drill_batch, settings.drill_steps, settings.drill_goal),
        drilled(partial(requests, most=most), settings.request_batch, settings.request_steps),
        drilled(partial(single_request, most=most), settings.single_request_batch, settings.single_request_steps),
        Lesson(lambda at: task_row(seed, at, writer, settings), settings.task_batch, settings.task_steps),
    )
    return [lesson for lesson in all_of_them if lesson.steps]


def drill_row(text: Drill, tokenizer: Any) -> Row:
    """With loss on the values alone: among the words of the phrases, which nothing foretells, their signal is lost."""

    def encode(part: str) -> list[int]:
        return tokenizer.encode(part, add_special_tokens=False)

    ids = encode(text.tables)
    labels = [IGNORE_INDEX] * len(ids)
    for phrase, value in text.answers:
        asked, told = encode(f" {phrase}"), encode(f" {value}.")
        ids += [*asked, *told]
        labels += [*[IGNORE_INDEX] * len(asked), *told]
    return Row(ids, labels)


def task_row(seed: int, index: int, writer: ExampleWriter, settings: LessonSettings) -> Row:
    """A graded task of the train split, its level and mode in turn, with loss on the answer.

    There is none on the decision token: which mode a task is answered in tells nothing.
    """
    turn, at = divmod(index, len(LEVELS))
    task = make("train", LEVELS[at], seed, index)
    is_short = turn % settings.long_every and calculations(task) <= settings.short_calculations
    example = writer.example(graded.record(task), ResolvedMode.SHORT if is_short else ResolvedMode.LONG)
    unlearnt = [IGNORE_INDEX] * (len(example.prompt_ids) + 1)
    return Row([*example.prompt_ids, *example.response_ids], [*unlearnt, *example.response_ids[1:]])
