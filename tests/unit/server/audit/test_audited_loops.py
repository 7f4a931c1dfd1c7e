"""Audits of requests with server tools: which calls and which turns of a loop are the answer of `auto`."""

from typing import Any

from support.serving import Running, scripted
from support.tools import ADD_1_2, QUESTION, Scripted, adder, ask, autotool_field, called, fail, named, with_tools

from autotool_server.audit.records import Pair
from autotool_server.engines.scripted import ScriptedEngine

THOUGHT = "So.</think>\n\n"
SEND_1_1 = called("send", {"a": 1, "b": 1})
AUTO = {"mode": "auto"}


def engine(audit: str, *turns: str) -> ScriptedEngine:
    """An engine that decides for short, decodes the turns one after another, and one text for each audit."""
    left = iter(turns)
    return scripted(lambda request: audit if request.priority else next(left), log_odds=-50.0)


async def audited(server: Running) -> Pair:
    await server.idle()
    await server.state.auditor.settled()
    (pair,) = server.state.auditor.records.pairs()[None]
    return pair


async def approved(server: Running, tools: list[dict[str, Any]]) -> None:
    """Ask, approve the call that waits then, and go on in auto."""
    record = autotool_field(await ask(server, tools))
    approvals = {call["id"]: True for call in record["pending_calls"]}
    await ask(server, tools, [*QUESTION, *record["transcript"]], extra={**AUTO, "tool_approvals": approvals})


async def test_a_call_that_was_approved_before_the_turn_does_not_settle_it() -> None:
    send = Scripted("send", fail, approval="always")
    served = engine(f"{THOUGHT}It failed.", SEND_1_1, "It failed.")
    async with with_tools(served, send, audit=1) as server:
        await approved(server, named("send"))
        pair = await audited(server)
    assert len(send.calls) == 1
    assert (pair.solved, pair.other_solved, pair.settled_by) == (True, True, "form")


async def test_the_calls_of_the_turn_after_one_that_was_approved_settle_it() -> None:
    send, tool = Scripted("send", fail, approval="always"), adder()
    served = engine(f"{THOUGHT}{ADD_1_2}", SEND_1_1, ADD_1_2, "It is 3.")
    async with with_tools(served, send, tool, audit=1) as server:
        await approved(server, named("send", "math.add"))
        pair = await audited(server)
    assert (len(send.calls), len(tool.calls)) == (1, 1)
    assert (pair.solved, pair.other_solved, pair.settled_by) == (True, True, "tools")


async def test_a_turn_that_was_escalated_is_audited_with_the_one_in_its_place() -> None:
    tool = adder()
    served = engine(f"{THOUGHT}No.", called("math.add", {"a": 1}), f"Hm, once more.</think>\n\n{ADD_1_2}", "It is 3.")
    async with with_tools(served, tool, audit=1, escalate=True) as server:
        answer = await ask(server, named("math.add"), extra=AUTO)
        pair = await audited(server)
    first, second, _ = autotool_field(answer)["turns"]
    assert (first["escalated"], len(tool.calls)) == ("invalid_arguments", 1)
    assert (pair.resolved, pair.solved, pair.other_solved, pair.settled_by) == ("short", True, True, "tools")
    assert pair.tokens == first["content_tokens"] + second["reasoning_tokens"] + second["content_tokens"]


async def test_one_that_fails_in_long_too_is_not_solved() -> None:
    served = engine(f"{THOUGHT}No.", called("math.add", {"a": 1}), f"Hm.</think>\n\n{called('math.add', {'b': 1})}", "No.")
    async with with_tools(served, adder(), audit=1, escalate=True) as server:
        await ask(server, named("math.add"), extra=AUTO)
        pair = await audited(server)
    assert (pair.solved, pair.other_solved) == (False, True)
