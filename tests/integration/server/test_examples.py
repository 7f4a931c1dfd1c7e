"""The examples of the README and the guides, as pasted, against `autotool serve` of the default model."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.examples import LOCAL_URL, Block, Example, assert_same_output, blocks, examples

ROOT = Path(__file__).parents[3]
GUIDES = ROOT / "docs" / "guides"
PAGES = [ROOT / "README.md", *(GUIDES / f"{name}.md" for name in ("client", "tools", "protocols"))]
EXAMPLES = [example for page in PAGES for example in examples(page)]
# The first of them may prepare the default model, and each loads a client.
pytestmark = pytest.mark.timeout(600)
WRITES_A_FILE = re.compile(r"^cat > \S+ <<", re.MULTILINE)


@dataclass(frozen=True)
class Served:
    """A server that was started by a page's own command, and the folder where its commands run."""

    url: str
    folder: Path

    def run(self, program: str) -> str:
        """Return what a program prints. Fails with its error if it fails."""
        command = [sys.executable, "-c", program.replace(LOCAL_URL, self.url)]
        env = os.environ | {"AUTOTOOL_BASE_URL": self.url}
        done = subprocess.run(command, check=False, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def files_of(page: Path) -> list[Block]:
    """The commands of a page that write the files which its examples need; one of them may start the server."""
    return [block for block in blocks(page) if block.language == "bash" and WRITES_A_FILE.search(block.text)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, default_model_dir: Path) -> Iterator[Served]:
    """The server of the server tools' guide, which has all that the other pages need too."""
    assert default_model_dir.is_dir()
    folder = tmp_path_factory.mktemp("examples")
    autotool = folder / "bin" / "autotool"
    autotool.parent.mkdir()
    autotool.write_text(f'#!/bin/sh\nexec {sys.executable} -m autotool_cli "$@"\n')
    autotool.chmod(0o755)
    env = os.environ | {"AUTOTOOL_ENGINE": "transformers", "AUTOTOOL_PORT": "0"}
    env["PATH"] = f"{autotool.parent}:{env['PATH']}"
    commands = "".join(block.text for page in PAGES for block in files_of(page))
    assert commands.count("autotool serve") == 1, "the example's server is started by one command"
    log = folder / "log.txt"
    with log.open("wb") as out:
        shell = subprocess.Popen(["bash", "-c", commands], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        yield Served(_url(shell, log), folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(60)


def _url(shell: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server is ready; return its URL."""
    while shell.poll() is None:
        if ready := re.search(r"Ready at (http\S+)\s", log.read_text()):
            return ready[1]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_every_example_shows_its_output() -> None:
    assert len(EXAMPLES) >= 6
    without = [f"{example.program.page.name}:{example.program.line}" for example in EXAMPLES if example.output is None]
    assert without == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.program.page.name}:{example.program.line}")
def test_an_example_prints_what_is_shown(served: Served, example: Example) -> None:
    assert example.output is not None
    assert_same_output(served.run(example.program.text), example.output)
