"""The audit log of calls: what its lines say, and what happens while it cannot be written."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.engines import until
from support.keys import bearer, write_keys
from support.serving import Running, running, scripted
from support.tools import (
    ADD_1_2,
    QUESTION,
    Fixed,
    Scripted,
    add,
    adder,
    ask,
    autotool_field,
    called,
    executions,
    fail,
    hang,
    metrics,
    named,
    results,
)

from autotool_core.errors import AutoToolError
from autotool_server.settings import Settings
from autotool_server.tools import audit
from autotool_server.tools import calls as calls_module
from autotool_server.tools.audit import UNWRITABLE, Audit, AuditLog, arguments_hash
from autotool_server.tools.base import Tool
from autotool_server.tools.calls import TurnCalls
from autotool_server.tools.config import create_registry
from autotool_server.tools.limits import CallLimits
from autotool_server.tools.made import ApprovedCalls, MadeCalls
from autotool_server.tools.registry import Registry
from autotool_server.tools.results import Outcome
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.server_call import ServerCall

FULL = Path("/dev/full")
DOUBLING = '''
from autotool_server.tools import tool

@tool
def twice(a: int) -> int:
    """Twice a number."""
    return 2 * a
'''


@asynccontextmanager
async def audited(path: Path, texts: list[str], *tools: Tool, **settings: Any) -> AsyncIterator[Running]:
    async with (
        Registry([Fixed(tools)], audit_log=AuditLog(path)) as registry,
        running(scripted(*texts), registry=registry, **settings) as server,
    ):
        yield server


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def seen(path: Path) -> list[tuple[str, str]]:
    return [(line["tool"], line["outcome"]) for line in lines(path)]


async def test_a_line_says_who_called_what_and_how_it_ended_without_arguments_and_result(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={})
    tool = Scripted("math.add", add, read_only=True)
    headers = {**bearer("alice"), "x-request-id": "order-7"}
    async with audited(tmp_path / "audit", [ADD_1_2, "Three."], tool, keys=keys) as server:
        await ask(server, named("math.add"), extra_headers=headers)
    (line,) = lines(tmp_path / "audit")
    arguments = hashlib.sha256(b'{"a": 1, "b": 2}').hexdigest()
    expected = {"request": "order-7", "key": "alice", "tool": "math.add", "source": "", "approval": "never", "approved": None}
    assert line.items() >= {**expected, "arguments_sha256": arguments, "outcome": "ok", "result_bytes": 1}.items()
    assert line["time"].endswith("+00:00")
    assert line.keys() - expected.keys() == {"time", "call", "arguments_sha256", "outcome", "seconds", "result_bytes"}


def test_equal_arguments_have_equal_hashes() -> None:
    assert arguments_hash('{"b": 2.0, "a": 1}') == arguments_hash('{"a":1,"b":2}')
    assert len({arguments_hash(text) for text in ("{}", "{", '{"a": 1}', "[" * 100_000, '"\\ud800"')}) == 5


CASES: dict[str, tuple[str, Any, dict[str, Any], list[str]]] = {
    "acts": (ADD_1_2, add, {}, ["begun", "ok"]),
    "acts, with an error": (ADD_1_2, fail, {}, ["begun", "error"]),
    "acts, too long": (ADD_1_2, hang, {"timeout": 0.01}, ["begun", "timeout"]),
    "wrong arguments": (called("math.add", {"a": 1}), add, {}, ["invalid_arguments"]),
    "no such tool": (called("math.sub", {}), add, {}, ["unknown_tool"]),
    "twice": (ADD_1_2 + ADD_1_2, add, {}, ["repeated", "begun", "ok"]),
    "waits for the user": (ADD_1_2, add, {"approval": "always"}, ["approval_required"]),
}


@pytest.mark.parametrize(("text", "work", "policy", "outcomes"), CASES.values(), ids=CASES)
async def test_every_call_has_one_line_with_its_outcome(
    tmp_path: Path, text: str, work: Any, policy: dict[str, Any], outcomes: list[str]
) -> None:
    async with audited(tmp_path / "audit", [text, "Well."], Scripted("math.add", work, **policy)) as server:
        await ask(server, named("math.add"))
    assert [outcome for _, outcome in seen(tmp_path / "audit")] == outcomes


@pytest.mark.parametrize(("approves", "outcomes"), [(True, ["begun", "ok"]), (False, ["refused"])])
async def test_the_decision_of_the_user_is_in_the_line(tmp_path: Path, approves: bool, outcomes: list[str]) -> None:
    path = tmp_path / "audit"
    async with audited(path, [ADD_1_2, "Well."], adder(approval="always")) as server:
        asked = autotool_field(await ask(server, named("math.add")))
        history = [*QUESTION, *asked["transcript"]]
        extra = {"tool_approvals": {call["id"]: approves for call in asked["pending_calls"]}}
        await ask(server, named("math.add"), history, extra=extra)
    waiting, *decided = lines(path)
    assert (waiting["outcome"], waiting["approved"]) == ("approval_required", None)
    assert [(line["outcome"], line["approved"], line["approval"]) for line in decided] == [
        (outcome, approves, "always") for outcome in outcomes
    ]


async def test_a_call_whose_client_leaves_is_cancelled(tmp_path: Path) -> None:
    path, tool = tmp_path / "audit", Scripted("math.add", hang)
    async with audited(path, [ADD_1_2], tool) as server:
        request = asyncio.create_task(ask(server, named("math.add")))
        await until(lambda: tool.running == 1)
        assert seen(path) == [("math.add", "begun")]  # what a crash would leave
        request.cancel()
        await server.idle()
    assert seen(path) == [("math.add", "begun"), ("math.add", "cancelled")]


@asynccontextmanager
async def turn(path: Path, tool: Tool, made: MadeCalls | None = None) -> AsyncIterator[TurnCalls]:
    log, secrets, made = AuditLog(path), Secrets({}), made or MadeCalls(ApprovedCalls(), set())
    calls = TurnCalls({}, secrets, CallLimits(), Audit(log), max_calls=9, deadline=time.perf_counter() + 60, made=made)
    yield calls
    await asyncio.sleep(0)  # the line of a task that has just ended is written in the next step of the loop
    await log.close()


def approved(tool: Tool) -> ServerCall:
    return ServerCall("call_1", tool.spec.name, tool, '{"a": 1, "b": 2}', complete=True, approved=True)


@pytest.mark.parametrize("work", [add, fail, hang])
@pytest.mark.parametrize("steps", range(6))
async def test_the_end_of_a_call_is_one_line_whenever_it_is_cancelled(tmp_path: Path, work: Any, steps: int) -> None:
    tool = Scripted("math.add", work)
    async with turn(tmp_path / "audit", tool) as calls:
        calls.add(approved(tool))
        calls.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        await calls.close(Outcome.NOT_RUN, "The request ended.")
        await calls.close(Outcome.NOT_RUN, "The request ended.")
    outcomes = [outcome for _, outcome in seen(tmp_path / "audit") if outcome != "begun"]
    assert len(outcomes) == 1
    assert outcomes[0] in {add: ("cancelled", "ok"), fail: ("cancelled", "error"), hang: ("cancelled",)}[work]


async def test_a_cancellation_that_comes_with_the_first_line_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, written = AuditLog(tmp_path / "audit"), asyncio.get_running_loop().create_future()
    monkeypatch.setattr(log, "write", lambda _: written)
    beginning = asyncio.create_task(log.write_soon({}))
    await asyncio.sleep(0)
    written.set_result(True)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await log.close()


async def test_a_call_that_does_not_end_when_it_is_cancelled_has_its_true_end_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "CANCEL_SECONDS", 0.01)
    release = asyncio.Event()

    async def go_on(_: Any) -> str:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return "3"

    tool = Scripted("math.add", go_on)
    async with turn(tmp_path / "audit", tool) as calls:
        call = calls.add(approved(tool))
        calls.start()
        await until(lambda: tool.running == 1)
        await calls.close(Outcome.NOT_RUN, "The request ended.")
        release.set()
        assert call.task is not None
        await asyncio.wait({call.task})
    assert seen(tmp_path / "audit") == [("math.add", "begun"), ("math.add", "still_running"), ("math.add", "ok")]


async def test_a_repeated_call_whose_first_goes_on_elsewhere_has_one_line(tmp_path: Path) -> None:
    tool, made = Scripted("math.add", hang), MadeCalls(ApprovedCalls(), set())
    async with turn(tmp_path / "first", tool, made) as first, turn(tmp_path / "audit", tool, made) as calls:
        first.add(approved(tool))
        first.start()
        await until(lambda: tool.running == 1)
        calls.add(approved(tool))
        calls.start()
        await calls.close(Outcome.BUDGET, "The budget of time for tools is used up.")
        await first.close(Outcome.NOT_RUN, "The request ended.")
    assert seen(tmp_path / "audit") == [("math.add", "repeated")]


# A log that cannot be written


@pytest.mark.parametrize(
    ("policy", "runs"),
    [({"read_only": True}, True), ({}, False), ({"read_only": True, "approval": "first"}, False)],
    ids=["reads", "acts", "needs approval"],
)
async def test_a_call_that_acts_is_not_run_while_it_cannot_be_logged(policy: dict[str, Any], runs: bool) -> None:
    tool = adder(**policy)
    async with audited(FULL, [ADD_1_2, "Well."], tool) as server:
        answer = await ask(server, named("math.add"))
        if pending := autotool_field(answer).get("pending_calls"):
            history = [*QUESTION, *autotool_field(answer)["transcript"]]
            answer = await ask(server, named("math.add"), history, extra={"tool_approvals": {pending[0]["id"]: True}})
        page = await metrics(server)
    assert len(tool.calls) == runs
    assert executions(answer)[0] == [("math.add", "ok" if runs else "not_logged")]
    assert results(answer) == ["3" if runs else f"Error: Not run: {UNWRITABLE}"]
    assert "autotool_tool_audit_failures_total 0.0" not in page


async def test_a_file_that_was_renamed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    async with audited(path, [ADD_1_2, "Well."] * 2, adder(read_only=True)) as server:
        await ask(server, named("math.add"))
        await until(lambda: seen(path))
        path.rename(tmp_path / "audit.1")
        await ask(server, named("math.add"))
    assert seen(tmp_path / "audit.1") == seen(path) == [("math.add", "ok")]


async def test_a_folder_that_is_gone_refuses_calls_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AuditLog(folder / "audit")
    (folder / "audit").unlink()
    folder.rmdir()
    assert [await log.write({}), await log.write({})] == [False, False]
    folder.mkdir()
    assert await log.write({"outcome": "ok"})
    assert len(lines(folder / "audit")) == 1
    await log.close()
    assert not await log.write({"outcome": "ok"})


# A disk that is slow


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While the event is not set, writing takes long."""
    go_on, emit = threading.Event(), audit._File.emit
    monkeypatch.setattr(audit._File, "emit", lambda file, record: go_on.wait(5) and emit(file, record))
    yield go_on
    go_on.set()


async def test_a_slow_disk_holds_up_no_request_and_lets_nothing_act_before_its_line(
    tmp_path: Path, disk: threading.Event
) -> None:
    path, tool = tmp_path / "audit", adder()
    reader = Scripted("math.sub", add, read_only=True)
    texts = [ADD_1_2, called("math.sub", {"a": 1, "b": 2}), "Three.", "Three."]
    async with audited(path, texts, tool, reader) as server:
        acting = asyncio.create_task(ask(server, named("math.add")))
        await until(lambda: server.state.admission.in_flight == 1)
        reading = await ask(server, named("math.sub"))
        assert results(reading) == ["3"]
        assert (tool.calls, lines(path)) == ([], [])
        disk.set()
        assert results(await acting) == ["3"]
    assert seen(path)[0] == ("math.add", "begun")
    assert sorted(seen(path)) == [("math.add", "begun"), ("math.add", "ok"), ("math.sub", "ok")]


async def test_the_end_of_the_server_writes_what_is_left(tmp_path: Path, disk: threading.Event) -> None:
    tool = Scripted("math.add", add, read_only=True)
    async with audited(tmp_path / "audit", [ADD_1_2, "Three."], tool) as server:
        await ask(server, named("math.add"))
        asyncio.get_running_loop().call_later(0.1, disk.set)
    assert seen(tmp_path / "audit") == [("math.add", "ok")]


async def test_a_disk_that_hangs_at_the_end_is_told(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "CLOSE_SECONDS", 0.05)
    registry = Registry(audit_log=AuditLog(tmp_path / "audit"))
    async with registry:
        assert registry.audit_log is not None
        writing = registry.audit_log.write({})
    assert registry.is_at_work
    disk.set()
    assert await writing
    assert "The audit log could not be written to its end" in caplog.text


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"audit_log: the file .*nowhere/audit cannot be written: No such file"):
        create_registry(Settings(audit_log=str(tmp_path / "nowhere/audit")))


async def test_the_lines_say_where_a_tool_comes_from(tmp_path: Path) -> None:
    (tmp_path / "audited_doubling.py").write_text(DOUBLING)
    (tmp_path / "tools.toml").write_text('[python.math]\nmodule = "audited_doubling"\n')
    settings = Settings(tools=str(tmp_path / "tools.toml"), builtin_tools="calculator", audit_log=str(tmp_path / "audit"))
    async with create_registry(settings) as registry:
        sources = {name: tool.spec.source for name, tool in registry.tools.items()}
    assert sources == {"math.twice": "python.math", "calculator": "builtin"}


async def test_a_call_that_acts_does_not_wait_for_ever_for_a_disk_that_hangs(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BEGIN_SECONDS", 0.05)
    tool = adder()
    async with audited(tmp_path / "audit", [ADD_1_2, "Three."], tool) as server:
        answer = await ask(server, named("math.add"))
        assert results(answer) == [f"Error: Not run: {audit.UNWRITABLE}"]
        disk.set()
    assert tool.calls == []
    assert seen(tmp_path / "audit") == [("math.add", "begun"), ("math.add", "not_logged")]
