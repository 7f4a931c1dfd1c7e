"""Tools of real MCP servers in other processes: their calls, and what becomes of tools that change."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support import mcp_servers
from support.collector import collecting
from support.engines import until
from support.mcp_served import SECRETS, SUM, Served, alive, started, stdio

from autotool_server.tools.base import OversizeError, ToolError, TransientError
from autotool_server.tools.execute import check, execute
from autotool_server.tools.results import Outcome, Result
from autotool_server.tools.sources.mcp import CHANGED, GONE, NEW, McpEntry, McpTool
from autotool_server.tracing import open_tracer, spans

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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


async def test_the_trace_of_a_call_is_passed_on(calm: Served) -> None:
    with collecting() as collector:
        tracer = open_tracer(collector.url)
        assert tracer is not None
        with spans.entered(tracer.server_span("request", {"traceparent": TRACEPARENT}, {})) as span:
            assert await calm.call("add", **SUM) == "3"
        await tracer.close()
    meta, headers = json.loads((calm.folder / mcp_servers.TRACE).read_text())
    assert meta["traceparent"] == span.headers["traceparent"]
    assert TRACEPARENT.split("-")[1] in meta["traceparent"]
    assert headers.get("traceparent") == (meta["traceparent"] if calm.entry.url else None)
    assert [span.name for span in collector.spans] == ["request"], "what the SDK traces quotes errors of servers"
    assert await calm.call("add", **SUM) == "3"
    meta, headers = json.loads((calm.folder / mcp_servers.TRACE).read_text())
    assert "traceparent" not in {**meta, **headers}


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
