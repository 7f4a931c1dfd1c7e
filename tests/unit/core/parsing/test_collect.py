from autotool_core.calls import Call
from autotool_core.parsing.collect import collect
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart


def call(index: int, *arguments: str) -> list[Event]:
    return [ToolCallStart(index, "f"), *(ToolCallArguments(index, text) for text in arguments)]


def test_texts_and_calls_are_joined() -> None:
    events = [ReasoningDelta("a"), ReasoningDelta("b"), ContentDelta("c"), *call(0, '{"x"', ": 1}"), ToolCallEnd(0)]
    turn = collect([*events, *call(1), ToolCallEnd(1)])
    assert (turn.reasoning, turn.content, turn.calls) == ("ab", "c", (Call("f", {"x": 1}), Call("f", {})))


def test_a_broken_call_makes_calls_none() -> None:
    assert collect(call(0, "{}")).calls is None
    assert collect([*call(0, "{"), ToolCallEnd(0)]).calls is None
    assert collect([ContentDelta("none")]).calls == ()
