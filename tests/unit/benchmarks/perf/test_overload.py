"""`bench perf overload` and `short-first`: when requests come, what becomes of them, and the whole over a scripted server."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.serving import Running, running, scripted
from typer.testing import CliRunner

from autotool_bench.perf import servers
from autotool_bench.perf.cli import app
from autotool_bench.perf.servers import Server
from autotool_bench.perf.task_load import P99, Sent, arrivals, client_of, figures_of, open_loop, shuffled_items
from autotool_server.engines.base import Capacity

LOADS = {
    "overload": ["without", "--max-load-bias 12 --slo-first-token 10"],
    "short-first": [
        f"{server}, {load}"
        for server in ("without", "--short-first-seconds 30 --max-long-share 0.5")
        for load in ("alone", "beside long")
    ],
}


def test_arrivals_are_random_and_have_a_rate() -> None:
    times = arrivals(5.0, 400, seed=3)
    assert times == sorted(times) == arrivals(5.0, 400, seed=3)
    assert times != arrivals(5.0, 400, seed=4)
    assert times[0] > 0
    assert times[-1] < 400
    assert len(times) == 2000


def test_figures() -> None:
    sent = [Sent("auto", 0.1 * number, number % 2 == 0, number < 30, -2.0, 0.5) for number in range(1, 41)]
    figures = figures_of([*sent, *[Sent("auto")] * 10])
    assert (figures["requests"], figures["refused"], figures["thinking rate"]) == (50, 10, 0.5)
    assert figures["p50 of first token, s"] == pytest.approx(2.05)
    assert figures[P99] == pytest.approx(3.961)
    assert (figures["solved of answered"], figures["solved of all"]) == (29 / 40, 29 / 50)
    assert (figures["mean load bias"], figures["made shorter"]) == (-2, 1)


async def overloaded(server: Running) -> list[Sent]:
    async with client_of(server.url) as client:
        return await open_loop(client, 200, 0.5, "auto")


async def test_what_is_refused_is_counted_and_not_sent_again() -> None:
    engine = scripted("Seven.", log_odds=3.0)
    engine.capacity = Capacity(1)
    engine.gate = lambda: asyncio.ensure_future(asyncio.sleep(0.02))
    async with running(engine, max_queue_seconds=0.2, log_requests="off") as server:
        sent = await overloaded(server)
    answered = [each for each in sent if each.first_token is not None]
    assert 0 < len(answered) < len(sent) == len(arrivals(200, 0.5))
    assert any(each.is_long for each in answered)
    assert not any(each.is_solved for each in sent)


@contextmanager
def already_running(server: Server, log: Path) -> Iterator[None]:
    del server, log
    yield


@pytest.mark.parametrize("command", ["overload", "short-first"])
async def test_the_whole_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    engine = scripted("one two three four</think>\n\nSeven.", log_odds=3.0)
    engine.capacity = Capacity(2)
    engine.gate = lambda: asyncio.ensure_future(asyncio.sleep(0.001))
    started: list[Sequence[str]] = []
    async with running(engine, max_load_bias=8, slo_first_token=0.05) as server:

        def autotool(*options: str, name: str) -> Server:
            started.append(options)
            return Server(name, (), int(server.url.removesuffix("/v1").rpartition(":")[2]))

        async with client_of(server.url) as client:  # the first request starts the processes for schemas
            await client.send(shuffled_items(0)[0], "long")
        monkeypatch.setattr(servers, "autotool", autotool)
        monkeypatch.setattr(servers, "started", already_running)
        options = [command, "--seconds", "2", "--streams", "3", "--out", str(tmp_path / "out.json"), "--model", "x"]
        result = await asyncio.to_thread(CliRunner().invoke, app, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written["figures"]) == LOADS[command]
    assert written["tasks a second in long"] > 0
    assert all(figures["requests"] > 0 for figures in written["figures"].values())
    option = LOADS[command][-1].split()[0]
    assert [option in options for options in started] == [False, True]
    assert all("--model" in options for options in started)
    assert ("p99 of calls beside thoughts / alone" in result.output) == (command == "short-first")
