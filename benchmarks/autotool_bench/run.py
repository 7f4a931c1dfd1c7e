"""A run: every item of a suite in every mode, one row an attempt, resumed where it stopped."""

import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.progress import Progress

from autotool_bench import rows
from autotool_bench.suites.base import Item, Suite
from autotool_bench.target import Target, UnansweredError
from autotool_core import jsonl
from autotool_core.errors import AutoToolError

CONFIG = "run.json"
OFFICIAL = "official.json"


@dataclass(frozen=True, slots=True)
class Config:
    """What a run is; kept beside its rows."""

    suite: str
    url: str
    model: str
    modes: tuple[str, ...]
    categories: tuple[str, ...]
    limit: int | None
    """Items per category."""
    seed: int
    """Which items those are."""
    request: dict[str, Any]
    """Fields that every request had."""
    switch: str
    label: str | None
    parameters: float | None
    """Of the model, for ACU."""
    directory: str | None
    """Where the suite's data came from."""
    concurrency: int
    """Items under way at once: latencies are those of this load."""
    timeout: float
    """Seconds that an answer could take."""


CIRCUMSTANCES = frozenset({"url", "concurrency", "timeout", "label", "parameters"})
"""What may differ when a run goes on, and is then kept as it is now: the same model may be served elsewhere."""


def open_run(folder: Path, config: Config) -> None:
    """Make the folder of a run, or find it again. Raises AutoToolError if another run is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG
    wanted = json.loads(json.dumps(asdict(config)))
    if not path.exists():
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _replace(path, {**wanted, "started": started})
        return
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise AutoToolError(
            f"{path} is no JSON: remove that file and run again with the same options; the rows stay."
        ) from error
    differing = {name: value for name, value in wanted.items() if name not in CIRCUMSTANCES and found.get(name) != value}
    if differing:
        told = "; ".join(f"{name} {found.get(name)}, not {value}" for name, value in differing.items())
        raise AutoToolError(f"{folder} holds a run with other settings ({told[:500]}): give another --out.")
    _replace(path, {**found, **{name: wanted[name] for name in CIRCUMSTANCES}})


def _replace(path: Path, value: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    with jsonl.atomic_write(path) as part:
        part.write_text(json.dumps(value, indent=1))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder. Raises AutoToolError if one is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise AutoToolError(f"Another process is running into {folder}: wait for it, or give another --out.") from None


def select(items: Iterable[Item], count: int, limit: int | None, seed: int) -> Iterator[Item]:
    """A sample of the items, in their order: the same for the same seed."""
    if limit is None or limit >= count:
        return iter(items)
    chosen = set(random.Random(seed).sample(range(count), limit))  # noqa: S311 not a secret
    return (item for at, item in enumerate(items) if at in chosen)


@dataclass(slots=True)
class Tally:
    """Running figures of a mode."""

    items: int = 0
    solved: float = 0
    errors: int = 0
    tokens: int = 0

    def add(self, solved: bool, error: bool, tokens: int) -> None:
        self.items += 1
        self.solved += solved
        self.errors += error
        self.tokens += tokens

    def __str__(self) -> str:
        shown = f"{self.solved / self.items:.1%}, {self.tokens / self.items:.0f} tokens"
        return shown + (f", {self.errors} errors" if self.errors else "")


@dataclass(slots=True)
class Run:
    """One run under way."""

    suite: Suite
    target: Target
    config: Config
    folder: Path
    progress: Progress
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])

    async def go(self, concurrency: int) -> None:
        """Attempt what no row tells of yet. Raises AutoToolError if the server is gone, OSError if the disk is full."""
        done = self._read_done()
        counts = {one: sum(1 for _ in self.suite.items(one)) for one in self.config.categories}
        sizes = [size if self.config.limit is None else min(size, self.config.limit) for size in counts.values()]
        # Of a run that was stopped, a report can then say how much is missing.
        _replace(self.folder / CONFIG, json.loads((self.folder / CONFIG).read_text()) | {"items": sum(sizes)})
        bar = self.progress.add_task(self._words(), total=sum(sizes) * len(self.config.modes), completed=len(done))
        writer = rows.RowWriter(self.folder)
        left = ((item, mode) for item in self._items(counts) for mode in self.config.modes if (item.id, mode) not in done)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(left, writer, bar))
        except ExceptionGroup as failed:
            # Not `except*`: before Python 3.11.4 what is raised there comes out in a group again.
            known = failed.subgroup((AutoToolError, OSError))
            raise failed if known is None else known.exceptions[0] from None
        finally:
            writer.close()

    def _read_done(self) -> set[tuple[str, str]]:
        done = set[tuple[str, str]]()
        for row in rows.read(self.folder):
            done.add((row["id"], row["mode"]))
            tokens = sum(turn["generated_tokens"] for turn in row["turns"])
            self._tally(row["mode"]).add(row["score"] == 1, row["error"] is not None, tokens)
        return done

    def _items(self, counts: dict[str, int]) -> Iterator[Item]:
        for category, count in counts.items():
            yield from select(self.suite.items(category), count, self.config.limit, self.config.seed)

    async def _work(self, left: Iterator[tuple[Item, str]], writer: rows.RowWriter, bar: Any) -> None:
        # The workers share one iterator: none holds more than the item that it is at.
        for item, mode in left:
            row = await self._attempt(item, mode)
            writer.write(row)
            tokens = sum(turn.generated_tokens for turn in row.turns)
            self._tally(mode).add(row.score == 1, row.error is not None, tokens)
            self.progress.update(bar, advance=1, description=self._words())

    async def _attempt(self, item: Item, mode: str) -> rows.Row:
        attempt = self.target.attempt(mode)
        score, reason, error, result = 0.0, None, None, None
        try:
            verdict = await self.suite.attempt(item, attempt)
            score, reason, result = verdict.score, verdict.reason, verdict.result
        except UnansweredError as unanswered:
            error = str(unanswered)
        return rows.Row(
            suite=self.suite.name,
            category=item.category,
            id=item.id,
            mode=mode,
            score=score,
            reason=reason,
            error=error,
            turns=tuple(attempt.turns),
            answers=tuple(attempt.answers),
            result=result,
        )

    def _tally(self, mode: str) -> Tally:
        return self.tallies.setdefault(mode, Tally())

    def _words(self) -> str:
        return " | ".join(f"{mode} {tally}" for mode, tally in self.tallies.items() if tally.items) or "starting"


def finish(suite: Suite, folder: Path, modes: tuple[str, ...]) -> None:
    """Write the suite's official figures, where it has any, beside the rows."""
    official = suite.finish(folder, lambda mode: (row for row in rows.read(folder) if row["mode"] == mode), modes)
    if official:
        (folder / OFFICIAL).write_text(json.dumps(official, indent=1))
