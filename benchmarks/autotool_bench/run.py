"""A run: every item of a suite in every mode, one row per attempt. A run that was stopped resumes where it stopped."""

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from openai import AsyncOpenAI
from rich.progress import Progress

from autotool_bench import items, rows
from autotool_bench.config import RunConfig
from autotool_bench.manifest import Manifest, check_folder, locked, open_run, read_manifest, update
from autotool_bench.progress import ModeBars, Tally, progress_bars
from autotool_bench.suites import load_suite
from autotool_bench.suites.base import Item, Suite
from autotool_bench.target import Target, UnansweredError, mode_fields
from autotool_client.discovery import find_model
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError

OFFICIAL = "official.json"


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that is started for a run and ended with it."""

    model: str | None
    """The name that its model will have; None if that is not known before it runs."""
    start: Callable[[], AbstractContextManager[str]]
    """Runs the server while the block lasts, and yields its base URL."""


def execute(config: RunConfig, own: OwnServer | None = None) -> None:
    """Attempt the suite's items in every mode; write the rows and the official figures.

    A run that was stopped resumes if it is executed again with the same settings. An `own` server is started when nothing
    else can be wrong, and not at all if every attempt has its row. Raises AutoToolError for settings that cannot be run, for
    a folder that holds another run or is in use, if the server cannot be reached, and for answers that its load has made think
    less where the configuration refuses them.
    """
    _check_modes(config)
    # The model first: making the suite may build an environment, which takes minutes.
    model = None if own else asyncio.run(_look_up_model(config))
    with locked(config.out), closing(load_suite(config.suite, config.categories, config.directory)) as suite:
        manifest = _manifest(config, model, suite.categories)
        check_folder(config.out, manifest)
        if own is None:
            _run(suite, config, manifest)
        elif _is_complete(suite, config, manifest, own.model):
            _keep(config.out, manifest, own.model)
        else:
            with own.start() as url:
                served = replace(config, url=url)
                _run(suite, served, _manifest(served, asyncio.run(_look_up_model(served)), suite.categories))
        if config.without_relief:
            _refuse_relief(config.out)
        _write_official(suite, config.out, config.modes)


def _check_modes(config: RunConfig) -> None:
    if len(set(config.modes)) < len(config.modes):
        raise AutoToolError("--modes: name each mode once.")
    for mode in config.modes:
        mode_fields(mode, config.switch)


def _run(suite: Suite, config: RunConfig, manifest: Manifest) -> None:
    open_run(config.out, manifest)
    if config.retry_errors or config.without_relief:
        rows.drop(config.out, config.retries)
    asyncio.run(_attempt_all(suite, config, manifest))


def _refuse_relief(folder: Path) -> None:
    """Raise AutoToolError for rows of turns that the load has made think less."""
    relieved = [rows.is_relieved(row) for row in rows.read(folder)]
    if any(relieved):
        raise AutoToolError(
            f"{folder}: in {sum(relieved)} of {len(relieved)} rows the server has made the model think less because requests "
            "waited (load_bias or load_share in rows.jsonl), so that they do not show what a mode or a bias reaches. Serve "
            "without --max-load-bias, or lower --concurrency, and start this command again: it attempts those items anew."
        )


def _is_complete(suite: Suite, config: RunConfig, manifest: Manifest, model: str | None) -> bool:
    """Return whether the folder has a row of this model for every attempt, so that no server is needed."""
    stored = read_manifest(config.out)
    if stored is None or model is None or stored.get("model") != model:
        return False
    kept = (row for row in rows.read(config.out) if not config.retries(row))
    done = {(row["id"], row["mode"]) for row in kept}
    planned = planned_items(suite, manifest, count_items(suite, manifest))
    return all((item.id, mode) in done for item in planned for mode in manifest.modes)


def _keep(folder: Path, manifest: Manifest, model: str | None) -> None:
    """Leave the rows of a complete run, and take the new values of what may change, such as its label."""
    stored = read_manifest(folder) or {}
    open_run(folder, replace(manifest, model=model, url=stored["url"]))
    plain_console(stderr=True).print(f"{folder} already has a row for every attempt: no server is started.", soft_wrap=True)


def _client(config: RunConfig) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=config.url, api_key=config.api_key, timeout=config.timeout, max_retries=0)


async def _look_up_model(config: RunConfig) -> str:
    async with _client(config) as client:
        return await find_model(client, config.model, key_option="--api-key or OPENAI_API_KEY")


async def _attempt_all(suite: Suite, config: RunConfig, manifest: Manifest) -> None:
    async with _client(config) as client:
        target = Target(client, manifest.model or "", config.switch, manifest.request)
        with progress_bars() as progress:
            await SuiteRun(suite, target, manifest, config.out, progress).attempt_all()


def _manifest(config: RunConfig, model: str | None, categories: tuple[str, ...]) -> Manifest:
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


def count_items(suite: Suite, manifest: Manifest) -> dict[str, int]:
    """Return the number of items of each category of a run, before its limit."""
    return {category: sum(1 for _ in suite.items(category)) for category in manifest.categories}


def planned_items(suite: Suite, manifest: Manifest, counts: Mapping[str, int]) -> Iterator[Item]:
    """Yield the items of a run: those of its sample, category by category."""
    for category, count in counts.items():
        yield from sample_items(suite.items(category), count, manifest.limit, manifest.seed)


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
        counts = count_items(self.suite, self.manifest)
        limit = self.manifest.limit
        size = sum(count if limit is None else min(count, limit) for count in counts.values())
        # The report of a run that was stopped then states how many items are missing.
        update(self.folder, items=size)
        items.write(self.folder, self.suite, planned_items(self.suite, self.manifest, counts))
        modes = self.manifest.modes
        done, tallies = self._read_done()
        bars = ModeBars(self.progress, size, modes, tallies)
        planned = planned_items(self.suite, self.manifest, counts)
        pending = ((item, mode) for item in planned for mode in modes if (item.id, mode) not in done)
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
