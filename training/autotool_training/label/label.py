"""`autotool train label`: choose the mode that each record is trained in (the rule of arXiv 2603.13348).

The no-thinking model attempts every record k times. A record that it gets right is labelled short: its gold answer is
trained without reasoning. The others go to the thinking model; if an attempt is right, the record is labelled long, with
the reasoning of that attempt. Of several right attempts the reasoning with the fewest words is taken, because all lead to
the gold answer and the method is to save tokens. A record that neither model gets right is dropped, or learnt as it is.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from autotool_core.modes import ModeSwitch, ResolvedMode
from autotool_core.progress import progress_bar
from autotool_server import default_model
from autotool_training.common import records
from autotool_training.common.fingerprint import fingerprint
from autotool_training.common.records import Record
from autotool_training.data.counts import Counts
from autotool_training.label.attempt import AttemptFile, LabelAttempt, LabelModel, LabelTask
from autotool_training.label.endpoint import Endpoint, SamplingSettings
from autotool_training.label.traces import Traces

SHORT, LONG = ResolvedMode.SHORT, ResolvedMode.LONG
NO_TRACE, NOT_RIGHT = "right, without reasoning", "neither model right"
UNFINISHED = "attempts that the same command makes again"
"""A note on attempts at which the server was busy or slow."""
LEARNT_AS_IT_IS = "learnt with the gold answer"
"""A note on records that neither model solved."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as the user names it."""

    location: str
    """A server's URL, a file of traces, or a checkpoint's folder or hub id."""
    name: str | None = None
    """The name of a server's model; None for its only one."""
    switch: ModeSwitch = ModeSwitch.MODE
    """The field by which a server is asked for the mode."""

    @property
    def is_checkpoint(self) -> bool:
        """Return whether it is neither a server nor a file."""
        return not self.location.startswith(("http://", "https://")) and not Path(self.location).is_file()

    def contents(self) -> str | None:
        """Return the fingerprint of a file or a folder; None for a server and a hub id. A known model is fetched for it."""
        return fingerprint(default_model.resolve(self.location))

    def reject_unable(self, mode: ResolvedMode) -> None:
        """Raise AutoToolError if it is a checkpoint that cannot be read, or cannot answer in the mode."""
        if self.is_checkpoint:
            from autotool_training.label import checkpoint  # noqa: PLC0415 torch takes seconds, and may not be needed

            checkpoint.reject_unable(self.location, mode)

    def open(self, mode: ResolvedMode, settings: "LabelSettings") -> LabelModel:
        """Return the model, ready for attempts. Raises AutoToolError for a file that holds no traces."""
        if self.location.startswith(("http://", "https://")):
            return Endpoint(
                self.location,
                mode,
                settings.sampling,
                switch=self.switch,
                model=self.name,
                concurrency=settings.concurrency,
            )
        if Path(self.location).is_file():
            return Traces(Path(self.location))
        from autotool_training.label.checkpoint import CheckpointSampler  # noqa: PLC0415 torch takes seconds, and may not be needed

        return CheckpointSampler(self.location, mode, settings.sampling, batch=settings.batch)


class LabelRules(BaseModel):
    """How records are attempted and labelled: the section `label` of a recipe, which `autotool train run` reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(default=4, ge=1)
    """Attempts of a model at each record."""
    threshold: float = Field(default=0.0, ge=0)
    """Share of the no-thinking model's answers that must be right for a short label; at least one must be."""
    temperature: float = Field(default=0.8, ge=0)
    """Sampling temperature of the attempts."""
    max_tokens: int = Field(default=2048, ge=1)
    """Limit of one answer, reasoning included."""
    concurrency: int = Field(default=32, ge=1)
    """Concurrent requests to a server."""
    batch: int = Field(default=16, ge=1)
    """Attempts that a checkpoint decodes at once."""
    unsolved: Literal["drop", "gold"] = "drop"
    """What becomes of a record that neither model gets right: `drop`, as in the paper; or `gold`, its gold answer is learnt,
    long with the reasoning of the record if it has some, else short, which teaches tools that the models cannot use yet."""


class LabelSettings(LabelRules):
    """How a run of `label` attempts and labels records."""

    seed: int = 0
    strict: bool = False
    """Whether an invalid record ends the run."""

    @property
    def sampling(self) -> SamplingSettings:
        return SamplingSettings(self.temperature, self.max_tokens, self.seed)


def label(
    path: Path,
    out: Path,
    short: ModelChoice,
    long: ModelChoice,
    settings: LabelSettings,
    *,
    skipped: Callable[[str], None],
    console: Console | None = None,
) -> Counts:
    """Label a file of records; write the labelled ones and, as JSON, the counts.

    The attempts are appended to `<out>.attempts.jsonl` as they end, and a run that is started again continues from them.
    `skipped` gets a sentence with file and line for each invalid record. Raises AutoToolError if a model cannot be reached or
    loaded, or a checkpoint cannot answer in its mode, if the existing attempts were made with other settings, if two records
    have the same id, and with `strict` for an invalid record.
    """
    short.reject_unable(SHORT)
    long.reject_unable(LONG)  # now, and not after hours of attempts of the other one
    tasks = list(records.read(path, strict=settings.strict, skipped=skipped))
    records.reject_duplicate_ids(tasks)
    file = AttemptFile(out.with_name(f"{out.stem}.attempts.jsonl"), _identity(path, short, long, settings))
    try:
        with progress_bar(console) as progress:
            by_short = _LabelPhase(SHORT, tasks, short.open(SHORT, settings), k=settings.k, file=file, progress=progress)
            by_short.run()
            left = [record for record in tasks if not by_short.outcomes[record.id].passes(settings.threshold)]
            by_long = _LabelPhase(LONG, left, long.open(LONG, settings), k=settings.k, file=file, progress=progress)
            by_long.run()
    finally:
        file.close()
    counts = Counts("Labels")
    records.write(out, _labelled(tasks, by_short, by_long, settings, counts))
    counts.write(out.with_name(f"{out.stem}.counts.json"))
    return counts


@dataclass(slots=True)
class _Outcome:
    """The results of a model's attempts at a record."""

    made: set[int] = field(default_factory=set[int])
    """Indices of the attempts that were made."""
    answered: int = 0
    unfinished: int = 0
    """Attempts without an answer that a resumed run makes again."""
    right: int = 0
    trace: str | None = None
    """The reasoning with the fewest words among the right answers."""

    def add(self, attempt: LabelAttempt, record: Record) -> None:
        self.made.add(attempt.index)
        if attempt.answer is None:
            self.unfinished += attempt.retryable
            return
        self.answered += 1
        if attempt.answer.is_right(record):
            self.right += 1
            traces = [text for text in (self.trace, _writable(attempt.answer.reasoning or "").strip()) if text]
            self.trace = min(traces, key=lambda text: len(text.split()), default=None)

    def passes(self, threshold: float) -> bool:
        return self.right > 0 and self.right >= threshold * self.answered


def _writable(text: str) -> str:
    """Return the text, or "" if it holds half of a surrogate pair, which UTF-8 cannot encode."""
    return text if text == text.encode(errors="ignore").decode() else ""


class _LabelPhase:
    """The attempts of one model at all records."""

    def __init__(
        self, mode: ResolvedMode, todo: Sequence[Record], model: LabelModel, *, k: int, file: AttemptFile, progress: Progress
    ) -> None:
        self.outcomes = {record.id: _Outcome() for record in todo}
        self._mode, self._model, self._file, self._progress = mode, model, file, progress
        self._k = k if model.max_attempts is None else min(k, model.max_attempts)
        self._records = {record.id: record for record in todo}
        self._tally = Counter[str]()
        for attempt in file.of(mode):
            if attempt.id in self._records and not attempt.retryable:
                self._note(attempt)
        self._bar = progress.add_task(self._describe(), total=len(todo) * self._k, completed=self._tally["made"])

    def run(self) -> None:
        """Make the attempts that the file does not hold yet."""
        todo = (LabelTask(record, index) for record in self._records.values() for index in range(self._k))
        try:
            asyncio.run(self._model.attempt((task for task in todo if task.index not in self._made(task)), self._done))
        finally:
            self._model.close()

    def _made(self, task: LabelTask) -> set[int]:
        return self.outcomes[task.record.id].made

    def _done(self, attempt: LabelAttempt) -> None:
        self._file.add(self._mode, attempt)
        self._note(attempt)
        self._progress.update(self._bar, advance=1, description=self._describe())

    def _note(self, attempt: LabelAttempt) -> None:
        outcome = self.outcomes[attempt.id]
        before = outcome.right
        outcome.add(attempt, self._records[attempt.id])
        self._tally.update(made=1, right=outcome.right - before, unanswered=attempt.answer is None)

    def _describe(self) -> str:
        tally = self._tally
        share = f"{tally['right'] / tally['made']:.1%} right" if tally["made"] else "starting"
        return f"{self._mode}: {share}" + (f", {tally['unanswered']} unanswered" if tally["unanswered"] else "")


def _labelled(
    tasks: Sequence[Record], by_short: _LabelPhase, by_long: _LabelPhase, rules: LabelRules, counts: Counts
) -> Iterator[Record]:
    for record in tasks:
        outcomes = {
            mode: phase.outcomes[record.id]
            for mode, phase in ((SHORT, by_short), (LONG, by_long))
            if record.id in phase.outcomes
        }
        counts.seen[record.source] += 1
        for mode, outcome in outcomes.items():
            notes = {f"{mode} answers": outcome.answered, f"{mode} answers right": outcome.right}
            notes[f"{mode} attempts unanswered"] = len(outcome.made) - outcome.answered
            notes[f"{mode} {UNFINISHED}"] = outcome.unfinished
            counts.notes[record.source].update(notes)
        made = _label(record, outcomes, rules.threshold)
        if rules.unsolved == "gold" and made in (NOT_RIGHT, NO_TRACE):
            counts.notes[record.source][LEARNT_AS_IT_IS] += 1
            made = record.model_copy(update={"label": "long" if (record.reasoning or "").strip() else "short"})
        if isinstance(made, Record):
            counts.kept[record.source][f"{made.label}"] += 1
            yield made
        else:
            counts.dropped[record.source][made] += 1


def _label(record: Record, outcomes: Mapping[ResolvedMode, _Outcome], threshold: float) -> Record | str:
    """Return the record with its label, or the reason why it has none."""
    if outcomes[SHORT].passes(threshold):
        return record.model_copy(update={"label": "short"})
    if outcomes[LONG].trace is not None:
        return record.model_copy(update={"label": "long", "reasoning": outcomes[LONG].trace})
    if outcomes[LONG].right:
        return NO_TRACE
    return NOT_RIGHT if any(outcome.answered for outcome in outcomes.values()) else "neither model answered"


def _identity(path: Path, short: ModelChoice, long: ModelChoice, settings: LabelSettings) -> dict[str, Any]:
    """Return all that the attempts depend on, as the file of attempts holds it."""
    return {
        "records": fingerprint(path),
        "short": asdict(short),
        "short_contents": short.contents(),
        "long": asdict(long),
        "long_contents": long.contents(),
        "k": settings.k,
        "sampling": asdict(settings.sampling),
    }
