"""MCP servers that end, change or stay while the server runs, what they leave behind, and what they see of it."""

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.engines import until
from support.mcp_served import SECRETS, SUM, TOKEN, Served, alive, serve, started, stdio

from autotool_server.tools.base import ToolError, TransientError
from autotool_server.tools.execute import execute
from autotool_server.tools.sources import mcp_connection
from autotool_server.tools.sources.mcp import CHANGED, McpEntry, McpSource


async def test_a_server_that_dies_in_a_call_is_reconnected(own: Served) -> None:
    waiting = asyncio.create_task(own.call("wait", mark="lost"))
    await until((own.folder / "lost.began").exists)
    with pytest.raises(TransientError, match="broke off the connection"):
        await own.call("die")
    with pytest.raises(TransientError, match="broke off the connection"):
        await waiting
    assert await own.call("add", **SUM) == "3"
    with pytest.raises(TransientError):
        await own.call("die")
    # This call waits for the connection; by then the tool is another one than the executor has checked.
    (own.folder / "state").write_text("description")
    with pytest.raises(ToolError, match="must accept it"):
        await own.call("add", **SUM)
    assert own.tool("add").spec.disabled == CHANGED


@pytest.mark.parametrize("era", ["2025", "2026"])
async def test_a_server_that_dies_between_calls_is_replaced_before_the_next_one(era: str, tmp_path: Path) -> None:
    async with serve("stdio", era, tmp_path) as served:
        pid = json.loads(await served.call("environment"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert await served.call("add", **SUM) == "3"
        assert json.loads(await served.call("environment"))["pid"] != pid


async def test_a_server_at_work_on_a_call_is_not_taken_for_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_connection, "HEARTBEAT_SECONDS", 0.2)
    async with serve("stdio", "2026", tmp_path) as served:
        monkeypatch.setattr(mcp_connection, "LIST_SECONDS", 0.2)
        assert await served.call("block", seconds=1.5) == "unblocked"


async def test_the_heartbeat_finds_changes_without_a_notification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_connection, "HEARTBEAT_SECONDS", 0.2)
    async with serve("stdio", "2025", tmp_path) as served:
        (tmp_path / "state").write_text("schema")
        await until(lambda: served.tool("add").spec.disabled == CHANGED, 5)


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_stop_leaves_nothing_running(way: str, tmp_path: Path) -> None:
    async with serve(way, "2025", tmp_path) as served:
        waiting = asyncio.create_task(served.call("wait", mark="stopped"))
        await until((tmp_path / "stopped.began").exists)
        pid = json.loads(await served.call("environment"))["pid"]
        assert alive(pid)
        await served.source.stop()
        with pytest.raises(ToolError):
            await waiting
        await until((tmp_path / "stopped.ended").exists)
        if way == "http":
            assert alive(pid)
        else:
            await until(lambda: not alive(pid))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "mcp" in repr(task.get_coro()) and "keep" not in repr(task.get_coro())]
        await served.source.stop()


async def test_stop_ends_a_server_that_does_not_leave_and_its_children(tmp_path: Path) -> None:
    served = await started(stdio(tmp_path), tmp_path)
    child = int(await served.call("child"))
    pid = json.loads(await served.call("environment"))["pid"]
    blocked = asyncio.create_task(served.call("block", seconds=1000))
    await asyncio.sleep(0.3)
    try:
        await served.source.stop()
        await asyncio.gather(blocked, return_exceptions=True)
        await until(lambda: not alive(pid) and not alive(child))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    source = McpSource("t", McpEntry(command=[sys.executable, "-c", code]), SECRETS)
    start = asyncio.create_task(source.start())
    await until(lambda: file.exists() and file.read_text())
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await source.stop()
    # It and its parent are killed together, and only the parent is waited for.
    await until(lambda: not alive(int(file.read_text())))


async def test_a_server_gets_its_secrets_and_nothing_else_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-a-client")
    entry = stdio(tmp_path, env={"SERVER_TOKEN": "Bearer ${TOKEN}"}, cwd="work").relative_to(tmp_path)
    (tmp_path / "work").mkdir()
    served = await started(entry, tmp_path)
    seen = json.loads(await served.call("environment"))
    result = await execute(served.tool("environment"), {}, SECRETS)
    await served.source.stop()
    assert seen["SERVER_TOKEN"] == f"Bearer {TOKEN}"
    assert seen["cwd"] == str(tmp_path / "work")
    assert "OPENAI_API_KEY" not in seen
    assert "key-of-a-client" not in str(seen)
    assert TOKEN not in result.content


async def test_a_servers_noise_is_nowhere_in_our_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = await started(stdio(tmp_path), tmp_path)
    assert await served.call("noise") == "written"
    await served.source.stop()
    written = capfd.readouterr()
    assert "noise" not in written.out + written.err + caplog.text
