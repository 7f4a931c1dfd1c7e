"""What `autotool train run` refuses before it fetches anything."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.launch.listener import listen
from autotool_training import cli_run
from autotool_training.cli import app


@pytest.fixture(autouse=True)
def _nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(default_model, "_make", lambda *_: pytest.fail("The base is fetched."))


def refusal(tmp_path: Path, *options: str) -> str:
    arguments = ["run", "company-tiny", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, AutoToolError)
    return str(result.exception)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["--base", "qwen2.5-coder-1.5b"], "--long"),
        (["--set", "base.source=qwen2.5-coder-1.5b", "--short", "http://127.0.0.1:1/v1"], "--long"),
        (["--base", "smollm2-135m-base"], "--short and --long"),
        (["--base", "scratch", "--short", "traces.jsonl"], "--long"),
    ],
)
def test_a_base_that_cannot_label_is_refused_before_it_is_fetched(tmp_path: Path, options: list[str], missing: str) -> None:
    assert f"give {missing} (a checkpoint's folder or hub id, a server's URL, or a file of traces)" in refusal(
        tmp_path, *options
    )
    assert not (tmp_path / "cache").exists()


def test_a_thinking_model_that_cannot_think_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    options = ("--base", "Qwen/Qwen3-4B", "--long", "qwen2.5-coder-1.5b")
    assert "--long qwen2.5-coder-1.5b cannot think" in refusal(tmp_path, *options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--launch", "accelerate 'launch"], "--launch cannot be read as a command"),
        (["--serve", "--until", "label"], "--serve needs the result"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, options: list[str], reason: str) -> None:
    assert reason in refusal(tmp_path, "--base", "Qwen/Qwen3-4B", *options)


def test_an_address_that_the_server_could_not_have_is_refused_before_hours_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("AUTOTOOL_PORT", port)
        refused = refusal(tmp_path, "--base", "Qwen/Qwen3-4B", "--serve")
    assert refused.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
    assert "AUTOTOOL_PORT" in refused


FLASH = ("base.attn_implementation=flash_attention_2", "base.dtype=bfloat16", "sft.share=false", "rl.share=false")
SERVER = ("rl.rollouts=vllm-server", "rl.vllm_url=http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("changes", "until", "reason"),
    [
        (FLASH, "measure", "base.attn_implementation=flash_attention_2 needs a GPU: leave it out on this machine"),
        (SERVER, "measure", "rl.rollouts=vllm-server needs a GPU here, from which the weights go to the server"),
        # Stages that do not need it are made. Here there is no file to make them of.
        (FLASH, "label", "rows.jsonl"),
        (SERVER, "refine", "rows.jsonl"),
    ],
)
def test_what_needs_a_gpu_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...], until: str, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cli_run, "require_vllm", lambda _: None)
    options = [word for change in changes for word in ("--set", change)]
    assert reason in refusal(tmp_path, *options, "--until", until)
