"""The systemd unit, checked by systemd itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "deploy/systemd/autotool.service"
COMMAND = "/opt/autotool/bin/autotool"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert text.count(COMMAND) == 1
    # The command need not be installed here, but systemd looks for it.
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(COMMAND, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
