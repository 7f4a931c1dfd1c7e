"""The systemd units, checked by systemd itself, and the settings that their guide shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import Block, blocks

from autotool_server.engines.remote import MAX_NUM_SEQS
from autotool_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy/systemd"
PAGE = ROOT / "docs/guides/deploy.md"
GUIDE = PAGE.read_text()
UNITS = {path.stem: path.read_text() for path in FOLDER.iterdir()}
FOLDERS = {"State": "/var/lib", "Logs": "/var/log", "Cache": "/var/cache"}


def command(unit: str) -> list[str]:
    return lines(unit, "ExecStart")[0].split()


def lines(unit: str, field: str) -> list[str]:
    return re.findall(rf"^{field}=(.*)$", UNITS[unit], re.MULTILINE)


def option(unit: str, name: str) -> str:
    words = command(unit)
    return words[words.index(name) + 1]


def shown(text: str) -> dict[str, str]:
    """Return the variables of the file that the guide shows, the one that has the text."""
    block: Block = next(block for block in blocks(PAGE) if block.language == "ini" and text in block.text)
    return dict(line.split("=", 1) for line in block.text.splitlines())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_a_unit(tmp_path: Path, unit: str) -> None:
    program = command(unit)[0]
    assert UNITS[unit].count(program) == 1
    # The command need not be installed here, but systemd looks for it.
    file = tmp_path / f"{unit}.service"
    file.write_text(UNITS[unit].replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_the_guide_installs_a_unit_its_program_and_its_variables(unit: str) -> None:
    folder = Path(command(unit)[0]).parents[1]
    assert re.search(rf"sudo python3 -m venv {folder}(-[\d.]+)?$", GUIDE, re.MULTILINE)
    assert f"deploy/systemd/{unit}.service" in GUIDE
    (environment,) = lines(unit, "EnvironmentFile")
    assert re.search(rf"{environment.removeprefix('-')}( |$)", GUIDE, re.MULTILINE)
    written = re.findall(rf"^echo '(\w+)=.*' \| sudo tee {environment}$", GUIDE, re.MULTILINE)
    used = re.findall(r"\$\{?(\w+)", " ".join(command(unit)))
    assert set(written) == set(used) - {"OPTIONS"}


@pytest.mark.parametrize("text", ["AUTOTOOL_MODEL", "AUTOTOOL_ENGINE=remote", "AUTOTOOL_OTLP_TRACES_ENDPOINT"])
def test_what_the_guide_sets_are_settings_in_folders_that_the_service_has(text: str) -> None:
    given = shown(text)
    names = {name.removeprefix(PREFIX).lower() for name in given if name.startswith(PREFIX)}
    assert names <= Settings.model_fields.keys()
    held = re.findall(r"^(\w+)Directory=(autotool)$", UNITS["autotool"], re.MULTILINE)
    writable = {f"{FOLDERS[kind]}/{name}" for kind, name in held if kind in FOLDERS}
    files = {value.removeprefix("sqlite:///") for value in given.values() if "/autotool/" in value}
    assert {str(Path(file).parent) for file in files} <= writable | {"/etc/autotool"}


def test_a_front_finds_its_router_and_the_router_its_engines() -> None:
    front = shown("AUTOTOOL_ENGINE=remote")
    assert front["AUTOTOOL_REMOTE_URL"] == f"http://127.0.0.1:{option('vllm-router', '--port')}"
    (workers,) = re.findall(r"^echo 'WORKERS=(.*)' \|", GUIDE, re.MULTILINE)
    assert {worker.rpartition(":")[2] for worker in workers.split()} == {option("vllm", "--port")}
    assert "$WORKERS" in command("vllm-router"), "one argument for each address"
    assert not any("$" in value for value in front.values()), "systemd expands nothing in the file"


def test_two_fronts_admit_what_two_engines_decode() -> None:
    assert option("vllm", "--max-num-seqs") == str(MAX_NUM_SEQS)
    assert f"`AUTOTOOL_MAX_RUNNING_REQUESTS={2 * MAX_NUM_SEQS}`" in GUIDE


def test_the_engines_heed_the_priorities_that_the_fronts_send() -> None:
    assert option("vllm", "--scheduling-policy") == "priority"
