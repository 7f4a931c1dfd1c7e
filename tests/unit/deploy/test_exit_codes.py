"""The exit codes of `autotool serve`, as the guide lists them for those who supervise it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotool_server.launch import stop

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/guides/deploy.md").read_text()
UNIT = (ROOT / "deploy/systemd/autotool.service").read_text()
SERVE = "from autotool_cli.main import main; main()"


def listed(where: str = "") -> set[int]:
    """Return the codes of the table, of the rows that have a text."""
    table = GUIDE.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if where in row]
    return {int(code) for row in rows for cell in re.findall(r"^\| ([\d, ]+) \|", row) for code in cell.split(",")}


@pytest.mark.parametrize(("options", "code"), [(["--no-such-option"], 2), (["--port"], 2), (["--port", "x"], 1)])
def test_a_mistake_at_the_start_has_its_code(options: list[str], code: int) -> None:
    run = [sys.executable, "-c", SERVE, "serve", *options]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == code, done.stderr


def test_the_guide_lists_every_code() -> None:
    of_signals = {128 + number for number in (signal.SIGKILL, signal.SIGTERM)}
    assert listed() == {0, 1, 2, stop.INTERRUPTED} | of_signals


def test_the_unit_leaves_what_the_guide_says() -> None:
    assert "\nRestart=on-failure\n" in UNIT
    (left,) = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT, re.MULTILINE)
    assert {int(code) for code in left.split()} == listed("`RestartPreventExitStatus`") == {2, stop.INTERRUPTED}
