"""The systemd unit, checked by systemd itself, and the settings that its guide shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autotool_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "deploy/systemd/autotool.service"
COMMAND = "/opt/autotool/bin/autotool"
GUIDE = (ROOT / "docs/guides/deploy.md").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert text.count(COMMAND) == 1
    # The command need not be installed here, but systemd looks for it.
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(COMMAND, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_guide_sets_are_settings_in_folders_that_the_service_has() -> None:
    (shown,) = re.findall(r"```ini\n(.*?)```", GUIDE, re.DOTALL)
    given = dict(line.split("=", 1) for line in shown.splitlines())
    names = {name.removeprefix(PREFIX).lower() for name in given if name.startswith(PREFIX)}
    assert names <= Settings.model_fields.keys()
    folders = {"State": "/var/lib", "Logs": "/var/log", "Cache": "/var/cache"}
    held = re.findall(r"^(\w+)Directory=(autotool)$", UNIT.read_text(), re.MULTILINE)
    writable = {f"{folders[kind]}/{name}" for kind, name in held if kind in folders}
    files = {value.removeprefix("sqlite:///") for value in given.values() if "/autotool/" in value}
    assert files
    assert {str(Path(file).parent) for file in files} <= writable | {"/etc/autotool"}
    (environment,) = re.findall(r"^EnvironmentFile=-(.*)$", UNIT.read_text(), re.MULTILINE)
    assert f"{environment}  " in GUIDE
