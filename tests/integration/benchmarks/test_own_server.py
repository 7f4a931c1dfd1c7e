"""`autotool bench run --model`: a run with the server that it starts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
RUN = ["-c", "from autotool_cli.main import main; main()", "bench", "run", "--suite", "graded", "--model", str(CHECKPOINT)]
OPTIONS = ["--serve-options", "--engine transformers", "--limit", "1", "--categories", "level-1,level-2", "--max-tokens", "24"]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *RUN, "--out", str(folder), *OPTIONS, *options]
    # A key of the user's own servers must not lock the run out of its server.
    environment = {**os.environ, "AUTOTOOL_API_KEY": "secret", "COLUMNS": "80"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


def servers() -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if str(CHECKPOINT) in (process.info["cmdline"] or [])]


def test_a_run_starts_its_server_and_ends_it(tmp_path: Path) -> None:
    before = servers()
    done = run(tmp_path, "--modes", "auto,long,short", "--max-reasoning-tokens", "24")
    assert done.returncode == 0, done.stderr
    assert servers() == before
    assert not (tmp_path / "server.log").exists()
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows] == [None] * 6
    assert json.loads((tmp_path / "run.json").read_text())["model"] == str(CHECKPOINT)
    assert max(len(line) for line in done.stdout.splitlines() if "report.html" not in line) <= 80
    assert re.search(r"graded: 2 items of 2 categories", done.stdout)
    page = (tmp_path / "report.html").read_text()
    assert "graded: 2 items of 2 categories, graded-tiny" in page


def test_a_failed_run_ends_its_server_and_keeps_the_log(tmp_path: Path) -> None:
    before = servers()
    assert run(tmp_path, "--modes", "short").returncode == 0
    failed = run(tmp_path, "--modes", "long")  # the folder holds another run, which is found when the server is up
    assert failed.returncode != 0
    assert "holds a run with other settings" in failed.stderr
    assert str(tmp_path / "server.log") in "".join(failed.stderr.split("\n"))
    assert (tmp_path / "server.log").exists()
    assert servers() == before
