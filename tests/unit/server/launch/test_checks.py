"""Options are checked before anything heavy is imported."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "vllm", "transformers", "fastapi", "uvicorn", "openai", "xgrammar", "huggingface_hub"}
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*(name for name in sys.modules if "." not in name)))
import runpy
runpy.run_module("autotool_cli", run_name="__main__")
"""


def serve(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Return the error of `autotool serve`, and the modules that it had imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("autotool: ")
    assert done.stderr.count("\n") == 1
    return done.stderr, set(done.stdout.split())


def test_nothing_heavy_is_imported_before_the_options_are_right(tmp_path: Path) -> None:
    tools = tmp_path / "tools.toml"
    tools.write_text('[python.mine]\nmodul = "x"\n')
    (tmp_path / "sampling").mkdir()
    (tmp_path / "sampling" / "generation_config.json").write_text("{")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        faults = {
            ("--port", "x"): "--port",
            ("--engine", "remote"): "--remote-url",
            ("--engine", "transformers", "--engine-arg", "max_len=1"): "max_model_len",
            ("--profile", "qwen9"): "qwen3-coder",
            ("--generation-config", str(tmp_path / "sampling")): "cannot be read as JSON",
            ("--tools", str(tools)): "modul",
            ("--tools", str(tmp_path / "none.toml")): "none.toml",
            ("--builtin-tools", "clok"): "clock",
            ("/no/folder",): "There is no folder",
            (str(tmp_path),): "has no model",
            ("qwen3:8b",): "colon",
            ("--port", port): "Cannot listen",
        }
        for arguments, named in faults.items():
            error, modules = serve(*arguments)
            assert named in error
            assert "autotool_server" in modules
            assert modules & HEAVY == set(), arguments


@pytest.mark.parametrize("variable", ["AUTOTOOL_MODEL"])
def test_a_variable_is_checked_as_its_option_is(variable: str) -> None:
    error, modules = serve(**{variable: "/no/folder"})
    assert "There is no folder" in error
    assert modules & HEAVY == set()
