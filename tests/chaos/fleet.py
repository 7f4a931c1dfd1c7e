"""Two stock vLLM servers behind vLLM's router, and two fronts of ours that share a PostgreSQL database: each fails once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from support import postgresql
from support.keys import bearer, write_keys

from chaos.clock import Clock
from chaos.crowd import Crowd, Outcome
from chaos.faults import Fault, clock_jumps, happening, restarted
from chaos.parts import NAME, Part, front, router, stock_vllm
from chaos.report import Report
from chaos.traffic import asks, known_answers
from chaos.watch import watched

BUDGET = 60_000
"""Tokens a day of the key that has a budget."""
LOST: tuple[Outcome, ...] = ("refused", "failed", "cut", "no connection")


@dataclass(frozen=True)
class Fleet:
    """The parts, in the order in which they start."""

    vllms: Sequence[Part]
    router: Part
    fronts: Sequence[Part]
    database: str
    clock: Clock | None
    """That of the second front."""

    @property
    def parts(self) -> Sequence[Part]:
        """All processes but the database's."""
        return [*self.vllms, self.router, *self.fronts]

    @classmethod
    def of(cls, folder: Path, database: str) -> "Fleet":
        """Return a fleet that is not started."""
        clock = Clock.make(folder)
        vllms = [stock_vllm(f"vllm-{number}", folder) for number in (1, 2)]
        routed = router(folder, *vllms)
        keys = write_keys(folder, free={}, budgeted={"tokens_per_day": BUDGET})
        options = ["--engine", "remote", "--remote-url", routed.url, "--keys", keys, "--spend-store", database]
        options += ["--response-store", database]
        fronts = [
            front("front-1", folder, *options),
            front("front-2", folder, *options, preload=clock.environment if clock is not None else None),
        ]
        return cls(vllms, routed, fronts, database, clock)

    async def start(self) -> None:
        """Start all parts."""
        await asyncio.gather(*(vllm.start() for vllm in self.vllms))
        for part in (self.router, *self.fronts):
            await part.start()

    def kill(self) -> None:
        """End all parts."""
        for part in reversed(self.parts):
            part.kill(whole=True)


async def run(folder: Path, count: int, at_once: int, seed: int) -> Report:
    """Run the scenario."""
    with postgresql.server() as database:
        fleet = Fleet.of(folder, database)
        try:
            await fleet.start()
            return await _storm(fleet, count, at_once, seed)
        finally:
            fleet.kill()


async def _storm(fleet: Fleet, count: int, at_once: int, seed: int) -> Report:
    urls = [part.url for part in fleet.fronts]
    known = await Crowd(urls[:1], keys=["free"]).learn(known_answers(NAME))
    crowd = Crowd(urls, known, keys=["free", "free", "budgeted"])
    watches = [part.log.with_suffix(".watch") for part in fleet.fronts]
    noted: list[tuple[str, Counter[Outcome]]] = []
    faults = [_noting(fault, crowd, noted) for fault in _faults(fleet)]
    with ExitStack() as stack:
        for url, watch in zip(urls, watches, strict=True):
            stack.enter_context(watched(url, watch))
        happened = asyncio.ensure_future(happening(faults, crowd, count))
        await crowd.run(asks(seed, NAME, tool=None), count, at_once)
        await happened
    report = Report()
    report.add_outcomes(crowd, count)
    for (name, before), (_, after) in zip(noted, [*noted[1:], ("", crowd.outcomes)], strict=True):
        lost = ", ".join(f"{after[kind] - before[kind]} {kind}" for kind in LOST)
        report.add(f"since {name}", lost)
    for part, watch in zip(fleet.fronts, watches, strict=True):
        report.add_watch(watch, name=f"{part.name}: ")
    used = await _used(fleet)
    report.add(f"tokens used of a budget of {BUDGET:,}", f"{used:,}", wrong=used > BUDGET)
    return report


def _noting(fault: Fault, crowd: Crowd, noted: list[tuple[str, Counter[Outcome]]]) -> Fault:
    """Return a fault that notes what had become of the requests before it."""

    async def happen() -> None:
        noted.append((fault.name, Counter(crowd.outcomes)))
        await fault.happen()

    return Fault(fault.name, fault.at, happen)


def _faults(fleet: Fleet) -> Sequence[Fault]:
    faults = [
        Fault("a vLLM server was killed, and back after 10 s", 0.1, restarted(fleet.vllms[0], 10)),
        Fault("a front was killed, and back after 5 s", 0.3, restarted(fleet.fronts[0], 5)),
        Fault("the router was killed, and back after 5 s", 0.5, restarted(fleet.router, 5)),
        Fault("the database was stopped for 10 s", 0.65, _database_stops(fleet.database)),
    ]
    if fleet.clock is not None:
        faults.append(Fault("the clock of a front jumped by an hour, forward and back", 0.8, clock_jumps(fleet.clock)))
    faults.append(Fault("a front was ended by SIGTERM and started again", 0.9, fleet.fronts[1].rolled))
    return faults


def _database_stops(url: str) -> Callable[[], Awaitable[None]]:
    async def happen() -> None:
        await asyncio.to_thread(postgresql.stop, url)
        await asyncio.sleep(10)
        await asyncio.to_thread(postgresql.start, url)

    return happen


async def _used(fleet: Fleet) -> int:
    """Return the tokens that the key with the budget has used today, as the server says once all is written."""
    await asyncio.sleep(5)
    url = fleet.fronts[0].url + "/v1/usage"
    async with aiohttp.ClientSession(headers=bearer("budgeted")) as client, client.get(url) as answer:
        return (await answer.json())["today"]["total_tokens"]
