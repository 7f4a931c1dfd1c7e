"""Commands of the README and the guides: the options and variables that they give exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import blocks

from autotool_server.environment import OTHER_VARIABLES
from autotool_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "docs/reliability.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
SETTINGS = Settings.model_fields.keys()
OTHER_OPTIONS = {"demo"}
ROUTER = Path(sys.executable).with_name("vllm-router")


def lines(page: Path) -> list[str]:
    """Return the lines of a page's commands, those that go on in the next line as one, without comments."""
    text = "\n".join(block.text for block in blocks(page) if block.language == "bash").replace("\\\n", " ")
    return [re.sub(r"\s#\s.*", "", line) for line in text.splitlines()]


def options(page: Path, command: str) -> set[str]:
    found = [line.partition(command)[2] for line in lines(page) if command in line]
    return {name for rest in found for name in re.findall(r"(?<!\S)--([a-z][a-z-]*)", rest)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_variables_of_the_server_are_settings(page: Path) -> None:
    assert {name.replace("-", "_") for name in options(page, "autotool serve")} <= SETTINGS | OTHER_OPTIONS
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", page.read_text()))
    assert named <= {PREFIX + name.upper() for name in SETTINGS} | OTHER_VARIABLES


def test_the_commands_are_found() -> None:
    assert {"engine", "remote-url", "model"} <= options(ROOT / "docs/guides/serve.md", "autotool serve")


@pytest.mark.skipif(not ROUTER.is_file() and shutil.which("vllm-router") is None, reason="vllm-router is not installed")
def test_the_routers_options_exist() -> None:
    command = str(ROUTER) if ROUTER.is_file() else "vllm-router"
    help_text = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    unit = (ROOT / "deploy/systemd/vllm-router.service").read_text()
    given = set(re.findall(r" --([a-z][a-z-]*)", unit.partition("ExecStart=")[2].partition("\n")[0]))
    assert "worker-urls" in given
    assert given <= set(re.findall(r"--([a-z][a-z-]*)", help_text))
