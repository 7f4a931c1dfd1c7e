"""The options of `autotool bench` and what its commands pass on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autotool_bench import cli
from autotool_bench.config import LOCAL_URL, RunConfig
from autotool_bench.own_server import own_server
from autotool_bench.perf import checkpoints, servers, side_by_side, soak
from autotool_core import extras
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments, catch_exceptions=False)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    configs: list[RunConfig] = []
    monkeypatch.setattr(cli, "execute", configs.append)
    monkeypatch.setattr("autotool_bench.report.write_report", lambda *_: None)
    return configs


def test_run_passes_its_options_to_execute(executed: list[RunConfig]) -> None:
    invoke("run", "--suite", "graded", "--out", "x", "--modes", "long,short", "--categories", "level-1", "--max-tokens", "9")
    expected = RunConfig(suite="graded", out=Path("x"), modes=("long", "short"), categories=("level-1",), max_tokens=9)
    assert executed == [expected]
    assert expected.request_fields() == {"temperature": 0.0, "max_completion_tokens": 9}


def test_dial_runs_a_mode_per_bias(executed: list[RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotool_bench.report.write_dial", lambda _: None)
    invoke("dial", "--suite", "graded", "--out", "x", "--biases", "-2:2:2")
    assert executed == [RunConfig(suite="graded", out=Path("x"), modes=("short", "auto@-2", "auto@0", "auto@2", "long"))]
    with pytest.raises(AutoToolError, match="at least two biases"):
        invoke("dial", "--suite", "graded", "--out", "x", "--biases", "2:2:2")


@pytest.fixture
def own_servers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The model, options and folder of each server that a run starts."""
    started: list[Any] = []

    @contextmanager
    def own_server(*arguments: Any) -> Iterator[str]:
        started.append(arguments)
        yield "http://127.0.0.1:1/v1"

    monkeypatch.setattr("autotool_bench.own_server.own_server", own_server)
    return started


@pytest.mark.parametrize("command", ["run", "dial"])
def test_a_model_without_a_url_is_served_for_the_run(executed: list[RunConfig], own_servers: list[Any], command: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autotool_bench.report.write_dial", lambda _: None)
        options = ("--model", "checkpoint", "--serve-options", "--engine transformers --engine-arg 'a=b c'")
        invoke(command, "--suite", "graded", "--out", "x", *options)
    assert own_servers == [("checkpoint", ["--engine", "transformers", "--engine-arg", "a=b c"], Path("x"))]
    # The server's only model is taken: its name is not the checkpoint's folder if an option names it.
    assert [(config.url, config.model) for config in executed] == [("http://127.0.0.1:1/v1", None)]


def test_a_url_names_a_running_server_and_model_its_model(executed: list[RunConfig], own_servers: list[Any]) -> None:
    invoke("run", "--suite", "graded", "--out", "x", "--url", "http://gpu-1/v1", "--model", "tiny")
    invoke("run", "--suite", "graded", "--out", "x")
    assert [(config.url, config.model) for config in executed] == [("http://gpu-1/v1", "tiny"), (LOCAL_URL, None)]
    with pytest.raises(AutoToolError, match=r"--serve-options: .* where no --url"):
        invoke("run", "--suite", "graded", "--out", "x", "--url", "http://gpu-1/v1", "--serve-options", "--engine vllm")
    assert own_servers == []


@pytest.mark.parametrize("wrong", [("--categories", "level-9"), ("--modes", "fast")])
def test_wrong_options_are_found_before_a_server_starts(
    executed: list[RunConfig], own_servers: list[Any], wrong: tuple[str, str]
) -> None:
    with pytest.raises(AutoToolError, match=r"level-9|mode fast"):
        invoke("run", "--suite", "graded", "--out", "x", "--model", "checkpoint", *wrong)
    assert own_servers == executed == []


@pytest.mark.parametrize(("model", "named"), [("default", []), ("folder", ["--model", "folder"])])
def test_the_default_model_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, named: list[str]) -> None:
    commands: list[list[str]] = []

    @contextmanager
    def started(server: servers.Server, log: Path, seconds: float) -> Iterator[None]:
        commands.append([*server.command][server.command.index("--port") + 2 :])
        log.touch()
        yield

    monkeypatch.setattr(servers, "started", started)
    with own_server(model, ["--engine", "vllm"], tmp_path):
        assert (tmp_path / "server.log").exists()
    assert commands == [[*named, "--engine", "vllm"]]
    assert not (tmp_path / "server.log").exists()


def test_a_server_that_does_not_start_leaves_its_log(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"autotool serve did not start: (?s:.+)\nIts log: .*server\.log"):
        invoke("run", "--suite", "graded", "--out", str(tmp_path), "--model", "x", "--serve-options", "--no-such-option 1")
    assert "no-such-option" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("name", ["selftest", "prove"])
def test_selftest_and_its_old_name_score_every_gold_answer(name: str) -> None:
    assert "500 items passed." in invoke(name, "--suite", "graded", "--categories", "level-1").output


def test_perf_imports_a_measurement_only_when_it_runs() -> None:
    code = "import sys, autotool_bench.cli; print(*(name for name in sys.modules if name.startswith('autotool_bench.perf')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["autotool_bench.perf", "autotool_bench.perf.cli"]


def test_soak_passes_unknown_options_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(soak, "measure", lambda *arguments: calls.append(arguments))
    invoke("perf", "soak", "--engine", "vllm", "--requests", "50", "--model", "x", "--engine-arg", "a=1")
    assert calls == [("vllm", 50, 16, ["--model", "x", "--engine-arg", "a=1"])]


def test_side_by_side_runs_both_servers_with_their_own_switch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configs: list[tuple[str, RunConfig]] = []
    monkeypatch.setattr(side_by_side.servers, "is_cpu", lambda: True)
    monkeypatch.setattr(side_by_side, "execute_on", lambda server, config: configs.append((server.name, config)))
    monkeypatch.setattr(side_by_side, "write_report", lambda *_: None)
    invoke("perf", "side-by-side", "--suite", "graded", "--out", str(tmp_path), "--model", "x", "--limit", "2")
    common: dict[str, Any] = {"suite": "graded", "out": tmp_path, "limit": 2, "max_tokens": 128, "concurrency": 32}
    assert configs == [
        ("ours", RunConfig(**common, max_reasoning_tokens=32)),
        ("stock", RunConfig(**common, modes=("long", "short"), switch=ModeSwitch.ENABLE_THINKING)),
    ]


def test_checkpoints_of_the_same_name_are_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names: list[str] = []
    monkeypatch.setattr(checkpoints, "execute_on", lambda server, _: names.append(server.name))
    monkeypatch.setattr(checkpoints, "write_report", lambda *_: None)
    options = ("--suite", "graded", "--out", str(tmp_path), "--engine", "transformers")
    invoke("perf", "checkpoints", "a/one", "a/two", *options)
    assert names == ["one", "two"]
    with pytest.raises(AutoToolError, match="same name"):
        invoke("perf", "checkpoints", "a/one", "b/one", *options)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: name != "trl")
    with pytest.raises(AutoToolError, match=r"^This measurement needs the package trl: .*autotool-server\[train,bench\]"):
        invoke("perf", "grpo-overhead", "--model", "x")
