"""MCP servers that cannot be had: each stops the start with a sentence."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.engines import until
from support.mcp_served import SCRIPT, SECRETS, TOKEN, free_port, listens

from autotool_core.errors import AutoToolError
from autotool_server.tools.sources import mcp_connection
from autotool_server.tools.sources.mcp import McpEntry, McpSource

HIDDEN = {"A": "${TOKEN}"}
SAID = r"Connection closed. It wrote to stderr: no licence for \[redacted\]"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (McpEntry(command=["/no/such/program"]), "No such file"),
        (McpEntry(command=[sys.executable, "-c", "raise SystemExit(3)"]), "Connection closed.*wrote nothing to stderr"),
        (McpEntry(command=[sys.executable, "-c", f"raise SystemExit('no licence for {TOKEN}')"], env=HIDDEN), SAID),
        (McpEntry(command=[sys.executable, "-c", "raise SystemExit('x' * 50_000 + 'at last')"]), "xat last"),
        (McpEntry(command=[sys.executable, SCRIPT], cwd=Path("/no/such/folder")), "cwd: /no/such/folder is no folder"),
        (McpEntry(command=[sys.executable, SCRIPT], env={"A": "${UNSET}"}), "env.A needs the environment variable UNSET"),
        (McpEntry(url="http://127.0.0.1:9/mcp"), "ConnectError"),
        (McpEntry(url="ftp://127.0.0.1/mcp"), "UnsupportedProtocol"),
        (McpEntry(url="http://127.0.0.1:9/mcp", headers={"A": "two\nlines"}), "headers.A must be one line"),
    ],
    ids=["no program", "ends at once", "says why", "says much", "no folder", "no secret", "no server", "no HTTP", "no header"],
)
async def test_a_server_that_cannot_be_had_stops_the_start(entry: McpEntry, reason: str) -> None:
    source = McpSource("gone", entry, SECRETS)
    with pytest.raises(AutoToolError, match=rf"^\[mcp\.gone\].*{reason}"):
        await source.start()
    await source.stop()


async def test_what_speaks_no_mcp_stops_the_start_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcp_connection, "START_SECONDS", 1.5)
    talk = f"import time\nfor _ in range(9):\n    print('hello {TOKEN}', flush=True)\ntime.sleep(60)"
    source = McpSource("gone", McpEntry(command=[sys.executable, "-c", talk]), SECRETS)
    with pytest.raises(AutoToolError, match=r"^\[mcp\.gone\]: no MCP server has answered"):
        await source.start()
    await source.stop()
    assert TOKEN not in caplog.text


@contextmanager
def website(folder: Path) -> Iterator[int]:
    """Serve files and yield the port."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    yield port
    process.kill()
    process.wait()


async def test_a_website_that_speaks_no_mcp_stops_the_start(tmp_path: Path) -> None:
    with website(tmp_path) as port:
        await until(lambda: listens(port))
        source = McpSource("gone", McpEntry(url=f"http://127.0.0.1:{port}/mcp"), SECRETS)
        with pytest.raises(AutoToolError, match=r"^\[mcp\.gone\]: its MCP server cannot be used"):
            await source.start()
        await source.stop()


def test_an_entry_has_either_a_command_or_a_url() -> None:
    for wrong in ({}, {"command": ["a"], "url": "http://a"}, {"url": "http://a", "env": {"A": "b"}}):
        with pytest.raises(ValidationError):
            McpEntry.model_validate(wrong)
