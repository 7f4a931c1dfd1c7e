"""The options of `autotool bench` and what its commands pass on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autotool_bench import cli
from autotool_bench.config import RunConfig
from autotool_bench.perf import checkpoints, side_by_side, soak
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
    modes = ("short", "auto@-2", "auto@0", "auto@2", "long")
    assert executed == [RunConfig(suite="graded", out=Path("x"), modes=modes, without_relief=True)]
    with pytest.raises(AutoToolError, match="at least two biases"):
        invoke("dial", "--suite", "graded", "--out", "x", "--biases", "2:2:2")


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
    with pytest.raises(AutoToolError, match=r"^This measurement needs the package trl: .*'\.\[train,bench\]'"):
        invoke("perf", "grpo-overhead", "--model", "x")
