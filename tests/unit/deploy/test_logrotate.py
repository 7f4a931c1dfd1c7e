"""The rotation of the audit log, by logrotate itself."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from autotool_server.tools.audit import AuditLog

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy/logrotate/autotool"
GUIDE = (ROOT / "docs/guides/deploy.md").read_text()
# Not every user's PATH has the folder of a system's programs.
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")


def rotate(folder: Path) -> None:
    """Rotate the logs of a folder as the file says, today's too."""
    text = re.sub(r"^/var/log/autotool/", f"{folder}/", FILE.read_text(), flags=re.MULTILINE)
    config = folder / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    done = subprocess.run(
        [str(LOGROTATE), "--force", "--state", folder / "state", config], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="logrotate changes owners, as root")
async def test_no_line_is_lost_and_the_server_needs_no_signal(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    # As the folder of a service's own user.
    os.chown(folder, 61234, 61234)
    log = AuditLog(folder / "audit.jsonl")
    assert await log.write({"number": 1})
    rotate(folder)
    assert not (folder / "audit.jsonl").exists()
    assert await log.write({"number": 2})
    assert await log.write({"number": 3})
    await log.close()
    (old,) = folder.glob("audit.jsonl-*")
    assert (numbers(old), numbers(folder / "audit.jsonl")) == ([1], [2, 3])


def test_the_file_rotates_what_the_guide_has_the_service_write() -> None:
    (path,) = re.findall(r"^(\S+) \{$", FILE.read_text(), re.MULTILINE)
    written = re.findall(r"^AUTOTOOL_AUDIT_LOG=(\S+)$", GUIDE, re.MULTILINE)
    assert written
    assert all(Path(file).match(path) for file in written)
    assert "sudo install -m 644 deploy/logrotate/autotool /etc/logrotate.d/autotool" in GUIDE
