"""Tools of real MCP servers in other processes, over both transports, with and without the protocol's handshake."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support import mcp_servers
from support.engines import until
from support.mcp_served import SCRIPT, SECRETS, TOKEN, Served, alive, free_port, listens, serve, started, stdio

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, ToolError, TransientError
from autotool_server.tools.execute import check, execute
from autotool_server.tools.results import Outcome, Result
from autotool_server.tools.sources import mcp_connection
from autotool_server.tools.sources.mcp import BAD_NAME, CHANGED, GONE, NEW, TWICE, McpEntry, McpSource, McpTool

SUM = {"a": 1, "b": 2}
WAYS = [(way, era) for way in ("stdio", "http") for era in ("2025", "2026")]


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
async def calm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server shared by the tests that do not change it."""
    way, era = request.param
    async with serve(way, era, tmp_path_factory.mktemp("mcp")) as served:
        yield served


@pytest.fixture(params=WAYS, ids="-".join)
async def own(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """A separate server for each test."""
    way, era = request.param
    async with serve(way, era, tmp_path) as served:
        yield served


async def test_every_page_is_listed_and_the_servers_hints_are_not_believed(calm: Served) -> None:
    assert [tool.spec.name for tool in calm.source.tools] == [f"t.{name}" for name in mcp_servers.TOOLS]
    spec = calm.tool("add").spec
    assert spec.description == "Adds."
    assert spec.parameters["properties"] == {"a": {"type": "integer"}, "b": {"type": "integer"}}
    assert (spec.disabled, spec.policy.read_only, spec.policy.idempotent) == (None, False, False)


async def test_results_are_text_and_other_content_is_named(calm: Served) -> None:
    assert await calm.call("add", **SUM) == "3"
    assert json.loads(await calm.call("structured")) == json.loads(await calm.call("blank")) == {"city": "Köln"}
    assert (await calm.call("mixed")).splitlines() == [
        "before",
        "[image/png, 1234 bytes]",
        "of a file",
        "[font/ttf, 1234 bytes]",
        "[more: file:///c]",
    ]


async def test_calls_run_at_once(calm: Served) -> None:
    assert await asyncio.gather(*(calm.call("meet", calls=8) for _ in range(8))) == ["met"] * 8


async def test_an_error_is_reported_with_the_servers_message(calm: Served) -> None:
    with pytest.raises(ToolError, match=r"^no such city$"):
        await calm.call("fail")
    with pytest.raises(ToolError, match="refused the call: not today") as refused:
        await calm.call("refuse")
    assert not isinstance(refused.value, TransientError)
    assert await calm.call("add", **SUM) == "3"


async def test_an_oversize_result_is_an_error(calm: Served) -> None:
    limit = calm.tool("big").spec.policy.max_result_bytes
    assert len(await calm.call("big", size=limit)) == limit
    with pytest.raises(OversizeError):
        await calm.call("big", size=limit + 1)
    # More than the SDK takes in one event over HTTP: refused as well, whatever the words.
    with pytest.raises(ToolError):
        await calm.call("big", size=3_000_000)
    assert await calm.call("add", **SUM) == "3"


async def test_a_stdio_server_that_sends_fifty_megabytes_is_ended_and_restarted(tmp_path: Path) -> None:
    served = await started(stdio(tmp_path), tmp_path)
    child = int(await served.call("child"))
    with pytest.raises(TransientError, match="broke off"):
        await served.call("big", size=50_000_000)
    await until(lambda: not alive(child))
    assert await served.call("add", **SUM) == "3"
    await served.source.stop()


async def test_cancelling_a_call_ends_it_in_the_server(calm: Served) -> None:
    call = asyncio.create_task(calm.call("wait", mark="cancelled"))
    await until((calm.folder / "cancelled.began").exists)
    assert not (calm.folder / "cancelled.ended").exists()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until((calm.folder / "cancelled.ended").exists, 5)
    assert await calm.call("add", **SUM) == "3"


async def test_the_executors_time_out_ends_a_call_in_the_server(calm: Served) -> None:
    tool = calm.tool("wait")
    quick = McpTool(tool.source, tool.remote_name, _with_timeout(tool, 0.5), tool.fingerprint)
    assert (await execute(quick, {"mark": "slow"}, SECRETS)).outcome is Outcome.TIMEOUT
    await until((calm.folder / "slow.ended").exists, 5)


def _with_timeout(tool: McpTool, seconds: float) -> Any:
    return type(tool.offered)(tool.offered.name, "", tool.offered.parameters, McpEntry(url="-", timeout=seconds).policy("wait"))


@pytest.mark.parametrize("state", ["description", "schema"])
async def test_a_tool_that_changed_is_disabled_until_it_is_accepted(
    own: Served, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = own.tool("add")
    await own.call("change", state=state)
    await until(lambda: own.tool("add").spec.disabled)
    after = own.tool("add")
    assert after.spec.disabled == before.spec.disabled == CHANGED
    assert caplog.text.count("t.add is disabled") == 1
    refused = check(after, "t.add", json.dumps(SUM))
    assert isinstance(refused, Result)
    assert refused.outcome is Outcome.DISABLED
    own.source.accept("t.add")
    assert after.spec.disabled is None
    assert await after.call(SUM) == "3"
    # Whoever still has the one that was reviewed at the start may not call what replaced it.
    assert before.spec.disabled == CHANGED
    assert own.tool("wait").spec.disabled is None


async def test_an_added_tool_is_disabled_and_a_removed_one_may_return_unchanged(own: Served) -> None:
    add = own.tool("add")
    await own.call("change", state="new")
    await until(lambda: len(own.source.tools) > len(mcp_servers.TOOLS))
    new = own.tool("new")
    assert new.spec.disabled == NEW
    own.source.accept("t.new")
    assert await own.call("new") == "new"
    await own.call("change", state="gone")
    await until(lambda: add.spec.disabled == GONE)
    with pytest.raises(ToolError, match="no longer offers it"):
        await add.call(SUM)
    await own.call("change", state="schema")
    await until(lambda: add.spec.disabled == CHANGED)
    await own.call("change", state="")
    await until(lambda: add.spec.disabled is None)
    assert await own.call("add", **SUM) == "3"


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
        assert alive(pid) == (way == "http")
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
    assert not alive(int(file.read_text()))


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


SCHEMA = {"type": "object", "properties": {}}
BAD: list[Any] = [
    {"name": "schemaless", "description": "No schema."},
    {"name": "wrong", "inputSchema": SCHEMA | {"properties": {"a": {"type": "objekt"}}}},
    {"name": "list", "inputSchema": {"type": "array"}},
    {"name": "read/file", "description": "A slash.", "inputSchema": SCHEMA},
    {"name": "x" * 90, "inputSchema": SCHEMA},
    {"name": "twice", "description": "One.", "inputSchema": SCHEMA},
    {"name": "twice", "description": "Two.", "inputSchema": SCHEMA},
    {"inputSchema": SCHEMA},
    7,
]
FAULTS = {
    "t.schemaless": "describes it in no valid way (inputSchema: Field required)",
    "t.wrong": "its inputSchema is no valid JSON schema (at properties/a/type)",
    "t.list": "describes it in no valid way (inputSchema.type: ",
    "t.read_file": BAD_NAME,
    "t." + "x" * 62: BAD_NAME,
    "t.twice": TWICE,
    "t._": "gives it no name",
}


def faults(served: Served) -> dict[str, str]:
    """Return the reasons of the disabled tools."""
    specs = (tool.spec for tool in served.source.tools)
    return {spec.name: spec.disabled for spec in specs if spec.disabled is not None}


async def test_a_bad_tool_is_disabled_with_its_reason_and_takes_no_other_with_it(own: Served) -> None:
    mcp_servers.spoil(own.folder, more=BAD)
    await own.call("change", state="")
    await until(lambda: len(faults(own)) == len(FAULTS))
    found = faults(own)
    assert found.keys() == FAULTS.keys()
    assert all(FAULTS[name] in found[name] for name in FAULTS)
    assert await own.call("add", **SUM) == "3"
    with pytest.raises(ToolError, match="disabled"):
        await own.tool("read/file").call({})
    own.source.accept("t.read_file")
    assert own.tool("read/file").spec.disabled == BAD_NAME
    # Started with them, they are the same.
    again = await started(own.entry, own.folder)
    assert faults(again) == found
    assert await again.call("add", **SUM) == "3"
    await again.source.stop()


async def test_a_tool_that_is_mended_later_must_be_accepted(own: Served) -> None:
    sound = {"name": "mended", "description": "Sound.", "inputSchema": SCHEMA}
    mcp_servers.spoil(own.folder, more=[{"name": "mended", "description": "Sound."}])
    served = await started(own.entry, own.folder)
    mcp_servers.spoil(own.folder, more=[sound])
    await served.call("change", state="")
    await until(lambda: faults(served) == {"t.mended": CHANGED})
    mcp_servers.spoil(own.folder, more=[{"name": "add", "description": "Adds.", "inputSchema": 7}, sound])
    await served.call("change", state="")
    await until(lambda: "t.add" in faults(served))
    mcp_servers.spoil(own.folder, more=[sound, sound])
    await served.call("change", state="")
    await until(lambda: "t.add" not in faults(served))
    assert await served.call("add", **SUM) == "3"
    served.source.accept("t.mended")
    assert faults(served) == {}
    await served.source.stop()


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ({"pages": "repeated"}, r"its MCP server's list of tools has no end: page 2 repeats the nextCursor '0'\."),
        ({"pages": "endless"}, r"more than 20 pages. The last nextCursor is '20'\."),
        ({"tools": None}, "answer to tools/list cannot be read"),
        ({"nextCursor": 3}, r"answer to tools/list cannot be read \(nextCursor: Input should be a valid string\)"),
    ],
    ids=["repeated", "endless", "no tools", "no text"],
)
async def test_a_list_that_cannot_be_used_stops_the_start_and_changes_nothing_later(
    own: Served, spoiled: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcp_connection, "MAX_PAGES", 20)
    mcp_servers.spoil(own.folder, **spoiled)
    with pytest.raises(AutoToolError, match=rf"^\[mcp\.t\].*{reason}"):
        await started(own.entry, own.folder)
    # The fixture's own source may list the tools too.
    assert len((own.folder / mcp_servers.LISTINGS).read_text().splitlines()) <= 2 * 20
    await own.call("change", state="new")
    await until(lambda: "Its tools stay as they were." in caplog.text)
    assert faults(own) == {}
    assert await own.call("add", **SUM) == "3"


async def test_include_and_exclude_choose_by_the_servers_names(tmp_path: Path) -> None:
    mcp_servers.spoil(tmp_path, more=BAD)
    entry = {"include": ["a*", "read/*", "big", "block"], "exclude": ["b*k"], "read_only": ["read/*"]}
    served = await started(stdio(tmp_path, **entry), tmp_path)
    assert [tool.remote_name for tool in served.source.tools] == ["add", "big", "read/file"]
    await served.source.stop()
    for wrong, message in (({"include": ["ad"]}, "include: no tool of its MCP"), ({"exclude": ["ad"]}, "exclude: no tool of")):
        with pytest.raises(AutoToolError, match=message):
            await started(stdio(tmp_path, **wrong), tmp_path)


async def test_a_namespace_that_spoils_every_name_stops_the_start(tmp_path: Path) -> None:
    source = McpSource("white space", stdio(tmp_path), SECRETS)
    with pytest.raises(AutoToolError, match=r"^\[mcp\.white space\]: 'white space\.' is not a name"):
        await source.start()


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
