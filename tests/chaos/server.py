"""One server with vLLM in its process, tools and stored responses: every part of it fails once."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.crowd import Crowd, Slowloris
from chaos.faults import Fault, full, happening, restarted, signalled
from chaos.parts import MODEL, NAME, TESTS, Part, free_port, front
from chaos.report import MEBIBYTE, Report, Sample, metrics
from chaos.traffic import Ask, asks, known_answers
from chaos.watch import watched

SLOWLORIS = 20
SETTLED = 0.3
"""The part of the requests after which memory should not grow any more."""
MEMORY_GROWTH = 1.15
MORE_DESCRIPTORS = 40
"""Open files and connections that may be added: of databases, and of processes that were started again."""
IDLE_SECONDS = 60
HELD = ("autotool_requests_in_flight", "autotool_request_body_bytes", "autotool_queue_requests", "autotool_queue_tokens")
"""What is 0 when nothing is being done."""


@dataclass(frozen=True)
class Parts:
    """The server, and what it needs."""

    server: Part
    echo: Part
    """The server of a tool."""
    disk: Path | None
    """A small file system with the stored responses."""

    @classmethod
    def of(cls, folder: Path, disk: Path | None) -> "Parts":
        """Return parts that are not started."""
        port = free_port()
        command = [sys.executable, "-m", "chaos.echo_server", str(port)]
        echo = Part("echo", command, port, folder / "echo.log", environment={"PYTHONPATH": str(TESTS)})
        tools = folder / "tools.toml"
        tools.write_text(
            f'[http.tools]\nbase_url = "{echo.url}"\n\n[[http.tools.endpoints]]\nname = "echo"\nmethod = "POST"\n'
            'path = "/echo"\ndescription = "Returns its arguments."\n\n[http.tools.endpoints.parameters]\ntype = "object"\n'
            'properties = { number = { type = "integer" } }\nrequired = ["number"]\n'
        )
        options = ["--model", str(MODEL), "--served-model-name", NAME, "--engine", "vllm", "--engine-restarts", "5"]
        options += ["--engine-arg", "max_num_seqs=64", "--engine-arg", "dtype=float32", "--engine-arg", "enforce_eager=true"]
        options += ["--engine-hang-seconds", "20", "--tools", str(tools)]
        options += ["--response-store", f"sqlite:///{(disk or folder) / 'responses.db'}"]
        return cls(front("server", folder, *options), echo, disk)


@dataclass
class Storm:
    """The requests of a run, and what is seen meanwhile."""

    crowd: Crowd
    watch: Path
    """The file of what `/health/live` took."""
    loris: Slowloris
    before: dict[str, float]
    """The server's metrics before the first request."""
    samples: list[Sample]
    """One for each tenth of the requests, and one before."""
    count: int


async def run(folder: Path, count: int, at_once: int, seed: int) -> Report:
    """Run the scenario."""
    async with _disk(folder) as disk:
        parts = Parts.of(folder, disk)
        try:
            await parts.echo.start()
            await parts.server.start()
            storm = await _prepare(parts.server, count)
            with watched(parts.server.url, storm.watch):
                await _rage(parts, storm, asks(seed, NAME, tool="tools.echo"), at_once)
            return await _report(parts.server, storm)
        finally:
            parts.server.kill(whole=True)
            parts.echo.kill()


async def _prepare(server: Part, count: int) -> Storm:
    known = await Crowd([server.url]).learn(known_answers(NAME))
    crowd, watch = Crowd([server.url], known), server.log.with_name("watch")
    loris = Slowloris("127.0.0.1", server.port, SLOWLORIS)
    return Storm(crowd, watch, loris, await metrics(server), [Sample.of(server)], count)


async def _rage(parts: Parts, storm: Storm, make: Callable[[], Ask], at_once: int) -> None:
    """Send all requests, with everything that goes wrong meanwhile."""
    beside = [asyncio.ensure_future(work) for work in (storm.loris.run(), _sampled(parts.server, storm))]
    faults = asyncio.ensure_future(happening(_faults(parts), storm.crowd, storm.count))
    await storm.crowd.run(make, storm.count, at_once)
    await faults
    for work in beside:
        work.cancel()
    await asyncio.gather(*beside, return_exceptions=True)


def _faults(parts: Parts) -> Sequence[Fault]:
    server = parts.server
    faults = [
        Fault("the tool's server is killed, and back after 5 s", 0.1, restarted(parts.echo, 5)),
        Fault("vLLM's core is killed", 0.35, signalled(server, "EngineCore", signal.SIGKILL)),
        Fault("vLLM's worker is killed", 0.5, signalled(server, "VLLM::Worker", signal.SIGKILL)),
        Fault("vLLM's core is stopped, as one that hangs", 0.7, signalled(server, "EngineCore", signal.SIGSTOP)),
    ]
    if parts.disk is not None:
        faults.append(Fault("the disk of the stored responses is full for 10 s", 0.2, full(parts.disk)))
    return sorted(faults, key=lambda fault: fault.at)


async def _sampled(server: Part, storm: Storm) -> None:
    """Take a sample whenever a tenth of the requests has ended."""
    while True:
        if storm.crowd.done >= len(storm.samples) * storm.count / 10:
            storm.samples.append(Sample.of(server))
        await asyncio.sleep(0.5)


async def _report(server: Part, storm: Storm) -> Report:
    report, crowd = Report(), storm.crowd
    report.add_outcomes(crowd, storm.count)
    after = await _idle(server)
    for name in HELD:
        report.add(f"{name} at the end", int(after[name]), wrong=after[name] > 0)
    _add_statuses(report, storm, after)
    _add_samples(report, storm.samples, Sample.of(server))
    report.add("connections with slow headers: opened / closed by the server", f"{storm.loris.opened} / {storm.loris.closed}")
    report.add("engine starts after faults", int(after["autotool_engine_restarts_total"]))
    report.add_watch(storm.watch)
    return report


def _add_statuses(report: Report, storm: Storm, after: dict[str, float]) -> None:
    counted = {name: after[name] - storm.before.get(name, 0) for name in after if name.startswith("requests ")}
    for status in sorted({*storm.crowd.statuses, *(int(name.split()[1]) for name in counted)}):
        seen, at_server = storm.crowd.statuses[status], int(counted.get(f"requests {status}", 0))
        # Those who leave have any status.
        report.add(f"status {status}: clients / server", f"{seen} / {at_server}", wrong=seen > at_server)
    total, outcomes = int(sum(counted.values())), storm.crowd.outcomes
    sent = outcomes.total() - outcomes["no connection"] + storm.loris.closed
    # Early leavers may have left before the server knew of them.
    is_right = sent - outcomes["left"] <= total <= sent
    report.add("all statuses, slow headers included: clients / server", f"{sent} / {total}", wrong=not is_right)


def _add_samples(report: Report, samples: Sequence[Sample], last: Sample) -> None:
    first, settled = samples[0], samples[min(int(SETTLED * 10), len(samples) - 1)]
    memory = " / ".join(f"{sample.memory / MEBIBYTE:.0f}" for sample in (first, settled, last))
    grown = last.memory > settled.memory * MEMORY_GROWTH
    report.add("memory, MiB: before / after 30 % / at the end", memory, wrong=grown)
    left = last.descriptors - first.descriptors
    report.add("descriptors: before / at the end", f"{first.descriptors} / {last.descriptors}", wrong=left > MORE_DESCRIPTORS)


async def _idle(server: Part) -> dict[str, float]:
    """Return the server's metrics when nothing is held any more, or those of the last try."""
    found: dict[str, float] = {}
    for _ in range(IDLE_SECONDS):
        found = await metrics(server)
        if not any(found[name] for name in HELD):
            break
        await asyncio.sleep(1)
    return found


@asynccontextmanager
async def _disk(folder: Path) -> AsyncIterator[Path | None]:
    """A small file system in memory. None without the rights to mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "chaos", str(disk)], check=False, capture_output=True)
    if mounted.returncode != 0:
        print("  Only the superuser can mount the disk that is to be full: left out.")
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
