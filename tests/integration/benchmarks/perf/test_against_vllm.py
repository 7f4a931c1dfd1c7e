"""What a token and a request cost this server and stock vLLM, measured over servers of scripted engines in place of vLLM's."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from autotool_bench import cli
from autotool_bench.perf import against_vllm, load, overhead, servers
from autotool_bench.perf.against_vllm import Spent, cost_of
from autotool_core.errors import AutoToolError

MODEL = "training/checkpoints/graded-tiny"
OPTIONS = ("--rounds", "2", "--streams", "2", "--requests", "60", "--tokens", "33", "--modes", "short,long")


def test_two_loads_tell_a_token_from_a_request() -> None:
    token, request = 60e-6, 5e-3
    few = Spent(128, 128, 128 * (request + token))
    many = Spent(64, 64 * 257, 64 * (request + 257 * token))
    cost = cost_of(few, many)
    assert (cost.token, cost.request) == (pytest.approx(60), pytest.approx(5))


def test_both_servers_get_the_model_and_the_flags_and_stock_vllm_its_parsers() -> None:
    ours, stock = load.pair("folder", cpu=True, ours=("--log-requests", "text"), stock=servers.PARSERS)
    for server in (ours, stock):
        assert server.command[server.command.index("--model") + 1] == "folder"
    assert "max_num_seqs=64" in ours.command
    assert stock.command[stock.command.index("--max-num-seqs") + 1] == "64"
    assert "--reasoning-parser" in stock.command
    assert list(ours.command[-2:]) == ["--log-requests", "text"]


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Any]]:
    """Two scripted servers, which run until the last test."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(overhead._served(MODEL, 33)) for name in ("ours", "stock")}


@pytest.fixture
def scripted(running: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have both servers be scripted ones; return the names of those that were suspended, in order."""
    suspended: list[str] = []
    pair = [servers.Server(name, [], urlsplit(server.url).port or 0) for name, server in running.items()]

    @contextmanager
    def started(server: servers.Server, log: Path) -> Iterator[Any]:
        yield SimpleNamespace(pid=running[server.name].process.pid, name=server.name)

    def paused(process: Any) -> Any:
        suspended.append(process.name)
        return nullcontext()

    monkeypatch.setattr("autotool_bench.perf.cli_speed.require_vllm", lambda _: None)
    monkeypatch.setattr(servers, "is_cpu", lambda: True)
    monkeypatch.setattr(servers, "started", started)
    monkeypatch.setattr(servers, "paused", paused)
    monkeypatch.setattr(against_vllm, "pair", lambda *_, **__: pair)
    monkeypatch.setattr(against_vllm, "NAME", overhead.SERVED)
    return suspended


def _run(out: Path) -> Any:
    arguments = ("perf", "overhead", "--against-vllm", "--model", MODEL, *OPTIONS, "--out", str(out))
    return CliRunner().invoke(cli.app, arguments, catch_exceptions=False)


def test_the_costs_are_ratios_of_interleaved_rounds(scripted: list[str], tmp_path: Path) -> None:
    result = _run(tmp_path / "front.json")
    assert "us CPU a token" in result.stdout
    assert "ours / stock" in result.stdout
    written = json.loads((tmp_path / "front.json").read_text())
    assert len(written["rounds"]) == 2
    assert written["rounds"][0].keys() == {"short", "long"}
    for mode, costs in written["ratios"].items():
        for cost, ratios in costs.items():
            of = [measured[mode]["ours"][cost] / measured[mode]["stock"][cost] for measured in written["rounds"]]
            assert ratios == pytest.approx(of)
    # The first round warms up; the order changes from round to round.
    assert scripted == ["ours", "stock", "stock", "ours", "ours", "stock"]


def test_a_request_that_fails_ends_the_measurement(
    scripted: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(against_vllm, "NAME", "no-such-model")
    with pytest.raises(AutoToolError, match="answered 404"):
        _run(tmp_path / "front.json")
