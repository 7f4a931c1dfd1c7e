"""The server that a run starts for a checkpoint: its command and environment, and when it is started at all."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from support.bench_runs import row
from typer.testing import CliRunner

from autotool_bench import cli, own_server, rows, run
from autotool_bench.config import LOCAL_URL, RunConfig
from autotool_bench.manifest import locked
from autotool_bench.perf import end_with_parent, servers
from autotool_bench.suites import load_suite
from autotool_client.errors import UnreachableError
from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_server.settings import Settings


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments, catch_exceptions=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The model, options and folder of each server that a run starts; the runs' items are not attempted."""
    found: list[Any] = []

    @contextmanager
    def start(*arguments: Any) -> Iterator[str]:
        found.append(arguments)
        yield "http://127.0.0.1:1/v1"

    async def look_up(config: RunConfig) -> str:
        return config.model or "checkpoint"

    async def attempt_all(*_: Any) -> None: ...

    monkeypatch.setattr(own_server, "own_server", start)
    monkeypatch.setattr(run, "_look_up_model", look_up)
    monkeypatch.setattr(run, "_attempt_all", attempt_all)
    monkeypatch.setattr("autotool_bench.report.write_report", lambda *_: None)
    monkeypatch.setattr("autotool_bench.report.write_dial", lambda _: None)
    return found


def bench(folder: Path, *options: str, command: str = "run") -> Any:
    return invoke(command, "--suite", "graded", "--out", str(folder), "--limit", "1", *options)


@pytest.mark.parametrize("command", ["run", "dial"])
def test_a_model_without_a_url_is_served_for_the_run(started: list[Any], tmp_path: Path, command: str) -> None:
    options = ("--model", "checkpoint", "--serve-options", "--engine transformers --engine-arg 'a=b c'")
    bench(tmp_path, *options, command=command)
    assert started == [("checkpoint", ["--engine", "transformers", "--engine-arg", "a=b c"], tmp_path)]
    assert '"url": "http://127.0.0.1:1/v1"' in (tmp_path / "run.json").read_text()


def test_a_url_names_a_running_server_and_model_its_model(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[RunConfig] = []
    monkeypatch.setattr(cli, "execute", executed.append)
    bench(Path("x"), "--url", "http://gpu-1/v1", "--model", "tiny")
    bench(Path("x"))
    assert [(config.url, config.model) for config in executed] == [("http://gpu-1/v1", "tiny"), (LOCAL_URL, None)]
    with pytest.raises(AutoToolError, match=r"--serve-options: .* where no --url"):
        bench(Path("x"), "--url", "http://gpu-1/v1", "--serve-options", "--engine vllm")
    assert started == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--categories", "level-9"), "level-9"),
        (("--modes", "fast"), "mode fast"),
        (("--serve-options", "--engine 'vllm"), r"--serve-options cannot be split into words \(no closing quotation\)"),
        (("--serve-options", "--port 9"), r"^--port: .* Leave --port out"),
        (("--serve-options", "--host=0.0.0.0"), r"^--host: "),
        (("--serve-options", "--engine vllm --api-key x"), r"^--api-key: "),
    ],
)
def test_wrong_options_are_found_before_a_server_starts(
    started: list[Any], tmp_path: Path, wrong: tuple[str, str], message: str
) -> None:
    with pytest.raises(AutoToolError, match=message):
        bench(tmp_path, "--model", "checkpoint", *wrong)
    assert started == []


def test_a_folder_of_other_settings_is_found_before_a_server_starts(started: list[Any], tmp_path: Path) -> None:
    bench(tmp_path, "--model", "checkpoint", "--modes", "short")
    assert len(started) == 1
    with pytest.raises(AutoToolError, match="holds a run with other settings"):
        bench(tmp_path, "--model", "checkpoint", "--modes", "long")
    with locked(tmp_path), pytest.raises(AutoToolError, match="Another process is running into"):
        bench(tmp_path, "--model", "checkpoint", "--modes", "short")
    assert len(started) == 1


def write_rows(folder: Path, *, error: str | None = None) -> None:
    suite = load_suite("graded")
    with jsonl.Appender(folder / rows.FILE) as file:
        for item in (next(iter(run.sample_items(suite.items(name), 500, 1, 0))) for name in suite.categories):
            file.write(row(item.id, "short", category=item.category, error=error))


def test_a_complete_run_starts_no_server(started: list[Any], tmp_path: Path) -> None:
    options = ("--model", "checkpoint", "--modes", "short")
    bench(tmp_path, *options)
    write_rows(tmp_path)
    shown = bench(tmp_path, *options, "--label", "mine")
    assert "already has a row for every attempt" in shown.stderr
    kept = (tmp_path / "run.json").read_text()
    assert '"label": "mine"' in kept
    assert '"url": "http://127.0.0.1:1/v1"' in kept
    assert len(started) == 1
    # The rows are of another model, which its server names.
    bench(tmp_path, "--model", "another", "--modes", "short")
    assert len(started) == 2


def test_a_complete_run_with_errors_starts_a_server_to_retry_them(started: list[Any], tmp_path: Path) -> None:
    options = ("--model", "checkpoint", "--modes", "short")
    bench(tmp_path, *options)
    write_rows(tmp_path, error="time-out")
    bench(tmp_path, *options)
    assert len(started) == 1
    bench(tmp_path, *options, "--retry-errors")
    assert len(started) == 2
    assert not [*rows.read(tmp_path)]


@pytest.mark.parametrize(("model", "named"), [("default", []), ("folder", ["--model", "folder"])])
def test_the_default_model_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, named: list[str]) -> None:
    commands: list[list[str]] = []

    @contextmanager
    def start(server: servers.Server, log: Path, seconds: float) -> Iterator[None]:
        commands.append([*server.command][server.command.index("--port") + 2 :])
        log.touch()
        yield

    monkeypatch.setattr(servers, "started", start)
    with own_server.own_server(model, ["--engine", "vllm"], tmp_path):
        assert (tmp_path / "server.log").exists()
    assert commands == [[*named, "--engine", "vllm"]]
    assert not (tmp_path / "server.log").exists()


@pytest.mark.parametrize(
    ("model", "options", "name"),
    [
        ("folder", [], "folder"),
        ("default", ["--engine", "vllm"], "smollm2-135m"),
        ("folder", ["--served-model-name", "a"], "a"),
        ("folder", ["--served-model-name=a"], "a"),
    ],
)
def test_the_name_of_the_served_model(model: str, options: list[str], name: str) -> None:
    assert own_server.model_name(model, options) == name


def test_the_log_is_named_where_the_server_is_at_fault_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def start(*_: Any, **__: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(servers, "started", start)
    with pytest.raises(AutoToolError, match=r"^gone\nThe server's log: "), own_server.own_server("x", [], tmp_path):
        raise UnreachableError("gone")
    with pytest.raises(AutoToolError, match=r"^full$"), own_server.own_server("x", [], tmp_path):
        raise AutoToolError("full")


def test_a_server_that_does_not_start_leaves_its_log(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"autotool serve did not start: (?s:.+)\nIts log: .*server\.log"):
        bench(tmp_path, "--model", "x", "--serve-options", "--no-such-option 1")
    assert "no-such-option" in (tmp_path / "server.log").read_text()


def test_no_setting_of_the_users_own_servers_reaches_a_measured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [f"AUTOTOOL_{name.upper()}" for name in Settings.model_fields]
    for name in (*settings, "autotool_model", "VLLM_API_KEY", "AUTOTOOL_CACHE_DIR"):
        monkeypatch.setenv(name, "1")
    kept = [name for name in servers.environment() if name.upper().startswith("AUTOTOOL_") or name == "VLLM_API_KEY"]
    assert "AUTOTOOL_CACHE_DIR" in kept
    assert not {*settings, "autotool_model", "VLLM_API_KEY"} & {*kept}


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int) -> None:
    monkeypatch.setattr(httpx.Client, "get", lambda *_: httpx.Response(status))
    server = servers.Server("slow", [sys.executable, "-c", "import time; time.sleep(60)"], 1)
    refused = pytest.raises(AutoToolError, match=f"slow answers {status}: start it without a key")
    with refused, servers.started(server, tmp_path / "log"):
        pass


def test_a_server_that_loads_for_minutes_is_said_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> httpx.Response:
        raise httpx.ConnectError("refused")

    clock = SimpleNamespace(monotonic=itertools.count(0, 30).__next__, sleep=lambda _: None)
    monkeypatch.setattr(servers, "time", clock)
    monkeypatch.setattr(httpx.Client, "get", refuse)
    server = servers.Server("slow", [sys.executable, "-c", "import time; time.sleep(60)"], 1)
    with pytest.raises(AutoToolError, match="did not start in 200 seconds"), servers.started(server, tmp_path / "log", 200):
        pass
    assert capsys.readouterr().err.count("slow is still loading; its log: ") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the signal of a parent's end is Linux's")
def test_a_command_ends_with_its_killed_parent() -> None:
    wait = "import time; time.sleep(60)"
    child = f"[{sys.executable!r}, {end_with_parent.__file__!r}, str(os.getpid()), {sys.executable!r}, '-c', {wait!r}]"
    code = f"import os, subprocess; print(subprocess.Popen({child}).pid, flush=True); {wait}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        command = psutil.Process(int(parent.stdout.readline()))
        while command.cmdline()[1:2] != ["-c"]:  # until then the signal may not have been asked for
            pass
        parent.kill()
        assert psutil.wait_procs([command], timeout=30)[1] == []
