"""The measurements of `scripts/speed_on_gpu.sh`, which needs a GPU: its commands can be read by `autotool bench`."""

import re
import shlex
from pathlib import Path

import typer.main

from autotool_bench import cli

SCRIPT = Path(__file__).parents[4] / "scripts/speed_on_gpu.sh"
ENGINES = {"streams": ("vllm", "transformers"), "soak": ("vllm", "stock-vllm")}


def commands() -> list[list[str]]:
    """Return the arguments of each `autotool bench perf` in the script, those in loops once for each of their engines."""
    text = SCRIPT.read_text().replace("\\\n", " ")
    lines = [shlex.split(line) for line in re.findall(r"autotool bench perf (.*)", text)]
    return [[word.replace("$engine", engine) for word in line] for line in lines for engine in ENGINES.get(line[0], ("",))]


def test_the_commands_are_valid() -> None:
    perf = typer.main.get_command(cli.app).commands["perf"]  # type: ignore[attr-defined]
    names = []
    for name, *arguments in commands():
        perf.commands[name].make_context(name, arguments)
        names.append(name)
    assert names == ["load", "load", "overhead", "start", "tool-loop", "streams", "streams", "soak", "soak"]
