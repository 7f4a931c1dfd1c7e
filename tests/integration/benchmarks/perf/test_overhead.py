"""What options of the server cost, measured over real servers."""

import re
from pathlib import Path

import pytest
from support.keys import write_keys
from typer.testing import CliRunner

from autotool_bench import cli
from autotool_core.errors import AutoToolError
from autotool_server.launch.command_line import parse

MODEL = "training/checkpoints/graded-tiny"
BRIEF = ("--streams", "2", "--tokens", "8", "--seconds", "1", "--rounds", "2")


def test_the_cost_of_an_option_is_a_ratio(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"requests_per_minute": 1_000_000})
    options = ("--keys", keys, "--spend-store", f"sqlite:///{tmp_path}/spend.db")
    arguments = ("perf", "overhead", "--model", MODEL, *BRIEF, "--key", "alice", "--", *options)
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert re.search(r"^CPU time with the options: \d+\.\d+ of that without \(median of 2;", result.stdout, re.MULTILINE)


def test_an_option_that_there_is_not_is_named() -> None:
    assert parse(["--max-tool-turns", "3"]) == {"max_tool_turns": "3"}
    with pytest.raises(AutoToolError, match="--no-such"):
        parse(["--no-such", "3"])


def test_an_option_that_there_is_not_is_told_before_servers_start() -> None:
    with pytest.raises(AutoToolError, match="--no-such"):
        CliRunner().invoke(cli.app, ("perf", "overhead", "--model", MODEL, "--", "--no-such"), catch_exceptions=False)
