"""Limits of server tools over all requests: the rate of their calls, and the breaker of one that fails."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.serving import Running, scripted
from support.tools import (
    ADD_1_2,
    ADD_3_3,
    Scripted,
    add,
    adder,
    ask,
    executions,
    fail,
    hang,
    metrics,
    named,
    refuse,
    results,
    with_tools,
)

from autotool_server import breaker
from autotool_server.breaker import Breaker, BreakerOpenError
from autotool_server.tools import limits
from autotool_server.tools.base import TransientError
from autotool_server.tools.builtin import BUILTIN_TOOLS
from autotool_server.tools.entry import Entry
from autotool_server.tools.limits import Rate
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.builtin import BuiltinSource


class Clock:
    """A clock that a test sets, in place of `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (limits, breaker):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def lose(_: Mapping[str, Any]) -> str:
    """Raise the error of a service that cannot be reached."""
    raise TransientError("The service cannot be reached.")


# The rate


class Starts:
    """The starts that a rate gives to calls, without the waits. It stands in for the module `asyncio`.

    Only there: a server of another test may run in the same loop, which would never yield if its own waits ended at once.
    """

    CancelledError = asyncio.CancelledError

    def __init__(self, limit: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rate, self.clock = Rate(limit), clock
        self.slept: list[float] = []
        self.cancelled = False
        monkeypatch.setattr(limits, "asyncio", self)

    async def sleep(self, seconds: float) -> None:
        if self.cancelled:
            raise asyncio.CancelledError
        self.slept.append(seconds)

    async def take(self, at: float, longest: float = 1e9) -> float | None:
        """Return when a call starts that comes at a time; None if it would take too long."""
        self.clock.now = at
        return at + self.slept[-1] if await self.rate.wait(longest) else None


async def test_no_60_seconds_have_more_starts_than_the_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(3, clock, monkeypatch)
    came = [1000, 1001, 1050, 1055, 1056, 1057, 1058, 1100, 1170, 1171, 1300]
    began = [await starts.take(at) for at in came]
    assert began == [1000, 1001, 1050, 1060, 1061, 1110, 1120, 1121, 1170, 1180, 1300]


async def test_a_call_whose_start_is_too_far_off_is_refused_at_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(1, clock, monkeypatch)
    assert await starts.take(1000) == 1000
    assert await starts.take(1029, longest=30) is None
    assert await starts.take(1030, longest=30) == 1060


async def test_a_cancelled_call_gives_its_start_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(1, clock, monkeypatch)
    await starts.take(1000)
    starts.cancelled = True
    with pytest.raises(asyncio.CancelledError):
        await starts.take(1010)
    starts.cancelled = False
    assert [await starts.take(1020), await starts.take(1020)] == [1060, 1120]


async def test_the_model_reads_that_a_tool_was_called_too_often() -> None:
    tool = adder(calls_per_minute=1)
    async with with_tools(scripted(ADD_1_2, ADD_3_3, "Well."), tool) as server:
        answer = await ask(server, named("math.add"))
        page = await metrics(server)
    assert executions(answer)[:2] == [[("math.add", "ok")], [("math.add", "rate_limited")]]
    assert results(answer)[1] == f"Error: Not run: {limits.TOO_MANY}"
    assert 'autotool_tool_calls_total{outcome="rate_limited",tool="math.add"} 1.0' in page
    assert len(tool.calls) == 1


# The breaker


async def outcomes(server: Running, count: int) -> list[str]:
    """Return how the calls of so many requests have ended."""
    answers = [await ask(server, named("math.add")) for _ in range(count)]
    return [executions(answer)[0][0][1] for answer in answers]


@pytest.mark.parametrize(
    ("work", "policy", "ends", "later"),
    [
        (lose, {}, "error", "unavailable"),
        (hang, {"timeout": 0.01}, "timeout", "unavailable"),
        (fail, {}, "error", "error"),  # it may be the arguments' fault, and then another client's call would not fail
        (refuse, {}, "error", "error"),
        (lose, {"max_failures": 0}, "error", "error"),
    ],
    ids=["lost service", "time-out", "exception", "refusal", "no breaker"],
)
async def test_only_a_tool_that_fails_itself_is_left_alone(work: Any, policy: dict[str, Any], ends: str, later: str) -> None:
    tool = Scripted("math.add", work, **{"max_failures": 2, **policy})
    async with with_tools(scripted(*[ADD_1_2, "Well."] * 4), tool) as server:
        assert await outcomes(server, 4) == [ends, ends, later, later]
        page = await metrics(server)
    is_open = later == "unavailable"
    assert len(tool.calls) == (2 if is_open else 4)
    assert ('autotool_tool_calls_total{outcome="unavailable",tool="math.add"} 2.0' in page) is is_open
    if "max_failures" not in policy and work in (lose, hang):
        assert 'autotool_tool_breaker_open{tool="math.add"} 1.0' in page


def test_a_client_cannot_have_a_built_in_tool_left_alone() -> None:
    """Their failures are those of what the model asks for: a host that is not there, a program that never ends."""
    for name in BUILTIN_TOOLS:
        (tool,) = BuiltinSource(name, Entry(), Secrets({})).tools
        assert tool.spec.policy.max_failures == 0
    (tool,) = BuiltinSource("fetch", Entry(max_failures=3), Secrets({})).tools
    assert tool.spec.policy.max_failures == 3


async def test_a_tool_that_answers_again_is_used_again(clock: Clock) -> None:
    works = iter([lose, lose, lose, add, add])

    async def work(arguments: Mapping[str, Any]) -> str:
        return await next(works)(arguments)

    tool = Scripted("math.add", work, max_failures=2)
    async with with_tools(scripted(*[ADD_1_2, "Well."] * 8), tool) as server:
        assert await outcomes(server, 3) == ["error", "error", "unavailable"]
        clock.now += breaker.PAUSE_SECONDS
        assert await outcomes(server, 2) == ["error", "unavailable"]
        clock.now += breaker.PAUSE_SECONDS
        assert await outcomes(server, 2) == ["ok", "ok"]
        page = await metrics(server)
    assert 'autotool_tool_breaker_open{tool="math.add"} 0.0' in page


async def test_a_tool_that_an_mcp_server_takes_back_leaves_no_series() -> None:
    tool, is_open = Scripted("math.add", lose, max_failures=1), 'autotool_tool_breaker_open{tool="math.add"} 1.0'
    async with with_tools(scripted(ADD_1_2, "Well."), tool) as server:
        source: Any = server.state.service.registry._sources[0]
        assert await outcomes(server, 1) == ["error"]
        assert is_open in await metrics(server)
        source.tools = []
        assert "autotool_tool_breaker_open{" not in await metrics(server)
        source.tools = [tool]
        assert is_open in await metrics(server)


async def test_the_model_reads_that_a_tool_is_unavailable() -> None:
    tool = Scripted("math.add", lose, max_failures=1)
    async with with_tools(scripted(ADD_1_2, ADD_3_3, "Well."), tool) as server:
        answer = await ask(server, named("math.add"))
    assert results(answer)[1] == f"Error: Not run: {limits.UNAVAILABLE}"


async def test_calls_that_waited_while_the_tool_failed_are_refused() -> None:
    tool = Scripted("math.add", lose, max_failures=1, max_concurrent=1)
    async with with_tools(scripted(ADD_1_2 + ADD_3_3, "Well."), tool) as server:
        answer = await ask(server, named("math.add"))
    assert executions(answer)[0] == [("math.add", "error"), ("math.add", "unavailable")]


def after_failures(clock: Clock) -> Breaker:
    """Return a breaker that lets one call through."""
    made = Breaker(2)
    for _ in range(2):
        made.failed()
    clock.now += breaker.PAUSE_SECONDS
    return made


def is_refused(made: Breaker) -> bool:
    try:
        with made.attempt():
            return False
    except BreakerOpenError:
        return True


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [(Breaker.reached, False), (Breaker.failed, True), (lambda _: None, False)],
    ids=["ok", "failed", "left"],
)
def test_one_call_is_let_through_while_others_wait(clock: Clock, outcome: Callable[[Breaker], None], refused: bool) -> None:
    made = after_failures(clock)
    with made.attempt():
        assert is_refused(made)
        outcome(made)
    assert is_refused(made) is refused


def test_a_call_from_before_the_failures_lets_none_through(clock: Clock) -> None:
    made = Breaker(1)
    with made.attempt():
        made.failed()
    assert is_refused(made)
