"""A run: every item of a suite in every mode, one row per attempt. A run that was stopped resumes where it stopped."""

import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from openai import AsyncOpenAI
from rich.progress import Progress

from autotool_bench import items, rows
from autotool_bench.config import RunConfig
from autotool_bench.progress import ModeBars, Tally, progress_bars
from autotool_bench.suites import load_suite
from autotool_bench.suites.base import Item, Suite
from autotool_bench.target import Target, UnansweredError, mode_fields
from autotool_client.discovery import find_model
from autotool_core import jsonl
from autotool_core.errors import AutoToolError

MANIFEST = "run.json"
OFFICIAL = "official.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The settings of a run as `run.json` keeps them, next to the rows."""

    suite: str
    url: str
    model: str
    modes: tuple[str, ...]
    categories: tuple[str, ...]
    limit: int | None
    """Items per category."""
    seed: int
    """Selects the items of a limited run."""
    request: dict[str, Any]
    """Fields that every request had."""
    switch: str
    label: str | None
    parameters: float | None
    """Number of parameters of the model, for ACU."""
    directory: str | None
    """Directory of the suite's data."""
    concurrency: int
    """Attempts in progress at the same time: latencies are those of this load."""
    timeout: float
    """Seconds that an answer could take."""


MUTABLE_FIELDS = frozenset({"url", "concurrency", "timeout", "label", "parameters"})
"""Fields that may change when a run is resumed, and then take the new value: the same model may be served elsewhere."""


def execute(config: RunConfig) -> None:
    """Attempt the suite's items in every mode; write the rows and the official figures.

    A run that was stopped resumes if it is executed again with the same settings. Raises AutoToolError for settings that
    cannot be run, for a folder that holds another run, and if the server cannot be reached.
    """
    _check_modes(config)
    # The model first: making the suite may build an environment, which takes minutes.
    model = asyncio.run(_look_up_model(config))
    with locked(config.out), closing(load_suite(config.suite, config.categories, config.directory)) as suite:
        manifest = _manifest(config, model, suite.categories)
        open_run(config.out, manifest)
        if config.retry_errors:
            rows.drop_errors(config.out)
        asyncio.run(_attempt_all(suite, config, manifest))
        _write_official(suite, config.out, config.modes)


def check_config(config: RunConfig) -> None:
    """Raise AutoToolError for modes or a suite that cannot be run, before a server is started for the run."""
    _check_modes(config)
    load_suite(config.suite, config.categories, config.directory).close()


def _check_modes(config: RunConfig) -> None:
    if len(set(config.modes)) < len(config.modes):
        raise AutoToolError("--modes: name each mode once.")
    for mode in config.modes:
        mode_fields(mode, config.switch)


def _client(config: RunConfig) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=config.url, api_key=config.api_key, timeout=config.timeout, max_retries=0)


async def _look_up_model(config: RunConfig) -> str:
    async with _client(config) as client:
        return await find_model(client, config.model, key_option="--api-key or OPENAI_API_KEY")


async def _attempt_all(suite: Suite, config: RunConfig, manifest: Manifest) -> None:
    async with _client(config) as client:
        target = Target(client, manifest.model, config.switch, manifest.request)
        with progress_bars() as progress:
            await SuiteRun(suite, target, manifest, config.out, progress).attempt_all()


def _manifest(config: RunConfig, model: str, categories: tuple[str, ...]) -> Manifest:
    return Manifest(
        suite=config.suite,
        url=config.url,
        model=model,
        modes=config.modes,
        categories=categories,
        limit=config.limit,
        seed=config.seed,
        request=config.request_fields(),
        switch=config.switch.value,
        label=config.label,
        parameters=config.parameters,
        directory=None if config.directory is None else str(config.directory),
        concurrency=config.concurrency,
        timeout=config.timeout,
    )


def open_run(folder: Path, manifest: Manifest) -> None:
    """Make the folder of a run, or resume the run in it. Raises AutoToolError if the folder holds another run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    wanted = json.loads(json.dumps(asdict(manifest)))
    if not path.exists():
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _replace(path, {**wanted, "started": started})
        return
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise AutoToolError(
            f"{path} is not valid JSON: remove that file and run again with the same options; the rows stay."
        ) from error
    differing = {name: value for name, value in wanted.items() if name not in MUTABLE_FIELDS and stored.get(name) != value}
    if differing:
        listed = "; ".join(f"{name} {stored.get(name)}, not {value}" for name, value in differing.items())
        raise AutoToolError(f"{folder} holds a run with other settings ({listed[:500]}): give another --out.")
    _replace(path, {**stored, **{name: wanted[name] for name in MUTABLE_FIELDS}})


def _replace(path: Path, value: dict[str, Any]) -> None:
    """Replace a file atomically."""
    with jsonl.atomic_write(path) as part:
        part.write_text(json.dumps(value, indent=1))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder against other processes. Raises AutoToolError if another process holds the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise AutoToolError(f"Another process is running into {folder}: wait for it, or give another --out.") from None


def sample_items(items: Iterable[Item], count: int, limit: int | None, seed: int) -> Iterator[Item]:
    """Return `limit` of the `count` items in their order, or all of them for None: the same sample for the same seed."""
    if limit is None or limit >= count:
        return iter(items)
    chosen = set(random.Random(seed).sample(range(count), limit))  # noqa: S311 not a secret
    return (item for index, item in enumerate(items) if index in chosen)


@dataclass(slots=True)
class SuiteRun:
    """A run in progress: its suite, the server under test and the folder of its rows."""

    suite: Suite
    target: Target
    manifest: Manifest
    folder: Path
    progress: Progress

    async def attempt_all(self) -> None:
        """Attempt each item and mode without a row. Raises AutoToolError if the server is gone, OSError if the disk is full."""
        counts = {category: sum(1 for _ in self.suite.items(category)) for category in self.manifest.categories}
        limit = self.manifest.limit
        size = sum(count if limit is None else min(count, limit) for count in counts.values())
        # The report of a run that was stopped then states how many items are missing.
        _replace(self.folder / MANIFEST, json.loads((self.folder / MANIFEST).read_text()) | {"items": size})
        items.write(self.folder, self.suite, self._items(counts))
        modes = self.manifest.modes
        done, tallies = self._read_done()
        bars = ModeBars(self.progress, size, modes, tallies)
        pending = ((item, mode) for item in self._items(counts) for mode in modes if (item.id, mode) not in done)
        await self._attempt_pending(pending, bars)

    async def _attempt_pending(self, pending: Iterator[tuple[Item, str]], bars: ModeBars) -> None:
        writer = rows.RowWriter(self.folder)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.manifest.concurrency):
                    group.create_task(self._work(pending, writer, bars))
        except ExceptionGroup as failed:
            # Not `except*`: before Python 3.11.4 what is raised there comes out in a group again.
            known = failed.subgroup((AutoToolError, OSError))
            raise failed if known is None else known.exceptions[0] from None
        finally:
            writer.close()

    def _read_done(self) -> tuple[set[tuple[str, str]], dict[str, Tally]]:
        """Return the ids and modes of the rows that an earlier start wrote, and their totals by mode."""
        done, tallies = set[tuple[str, str]](), dict[str, Tally]()
        for row in rows.read(self.folder):
            done.add((row["id"], row["mode"]))
            tokens = sum(turn["generated_tokens"] for turn in row["turns"])
            tallies.setdefault(row["mode"], Tally()).add(row["score"] == 1, row["error"] is not None, tokens)
        return done, tallies

    def _items(self, counts: dict[str, int]) -> Iterator[Item]:
        for category, count in counts.items():
            yield from sample_items(self.suite.items(category), count, self.manifest.limit, self.manifest.seed)

    async def _work(self, pending: Iterator[tuple[Item, str]], writer: rows.RowWriter, bars: ModeBars) -> None:
        # The workers share one iterator, so each holds only the item that it is attempting.
        for item, mode in pending:
            row = await self._attempt(item, mode)
            writer.write(row)
            tokens = sum(turn.generated_tokens for turn in row.turns)
            bars.add(mode, row.score == 1, row.error is not None, tokens)

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


def _write_official(suite: Suite, folder: Path, modes: tuple[str, ...]) -> None:
    """Write the suite's official figures next to the rows, if the suite has any."""
    official = suite.finish(folder, lambda mode: (row for row in rows.read(folder) if row["mode"] == mode), modes)
    if official:
        (folder / OFFICIAL).write_text(json.dumps(official, indent=1))
