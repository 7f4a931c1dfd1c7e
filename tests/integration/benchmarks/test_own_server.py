"""`autotool bench run --model`: a run with the server that it starts."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
RUN = ["-c", "from autotool_cli.main import main; main()", "bench", "run", "--suite", "graded", "--model", str(CHECKPOINT)]
OPTIONS = ["--serve-options", "--engine transformers", "--limit", "1", "--categories", "level-1,level-2", "--max-tokens", "24"]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *RUN, "--out", str(folder), *OPTIONS, *options]
    # The settings of the user's own servers must not lock the run out of its server, nor change it.
    own = {"AUTOTOOL_API_KEY": "secret", "AUTOTOOL_MODEL": "another", "AUTOTOOL_HOST": "127.0.0.9", "AUTOTOOL_PORT": "1"}
    environment = {**os.environ, **own, "COLUMNS": "80"}
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


def test_a_killed_run_leaves_no_server(tmp_path: Path) -> None:
    before = servers()
    command = [sys.executable, *RUN, "--out", str(tmp_path), *OPTIONS, "--modes", "long"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        while not (tmp_path / "run.json").exists():  # its server is up and was asked for its model
            assert bench.poll() is None
            time.sleep(0.05)
        bench.kill()
    started = [psutil.Process(pid) for pid in servers() if pid not in before and pid != bench.pid]
    assert psutil.wait_procs(started, timeout=60)[1] == []
