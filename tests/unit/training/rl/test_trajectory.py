"""The mode of a rollout, and parsing of rollouts exactly as the server parses turns."""

import json
from typing import Any

import pytest
import torch
from support.tiny import make_tokenizer

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.events import ContentDelta, Event, ToolCallArguments, ToolCallStart
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.plan import TurnLimits
from autotool_server.conversation.turn import Turn
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.engines.base import Sampling
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.targets.load import UNRELIEVED
from autotool_training.rl.trajectory import Fault, Trajectory, TrajectoryReader, mode_masks

PROFILE = BUILTIN["smollm2-autotool"]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
ADD = Call("add", {"a": 1})
CLOSED = "\n\n</think>\n\n"
SHORT, LONG = ResolvedMode.SHORT, ResolvedMode.LONG


class Bench:
    """A reader and the token ids it needs."""

    def __init__(self) -> None:
        self.tokenizer = make_tokenizer()
        self.renderer = PromptRenderer(self.tokenizer, PROFILE)
        self.eos = self.tokenizer.eos_token_id
        self.reader = TrajectoryReader(self.tokenizer, PROFILE, [self.eos])
        self.prompt = self.renderer.render([{"role": "user", "content": "<think>\n\n</think>"}], TOOLS, Mode.AUTO)

    def ids(self, text: str, *, ended: bool = True) -> list[int]:
        # The prefix has its own ids whatever follows it, as in the server.
        start = CLOSED if text.startswith(CLOSED) else ""
        return [*self.renderer.ids(start), *self.renderer.ids(text.removeprefix(start)), *([self.eos] if ended else [])]

    def read(self, text: str, tools: Any = TOOLS, *, ended: bool = True) -> Trajectory:
        return self.reader.read(self.prompt, self.ids(text, ended=ended), tools)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_the_first_token_alone_settles_the_mode(bench: Bench) -> None:
    decision = bench.reader.decision
    other = bench.renderer.ids("a")[0]
    quoting = bench.ids("\nIs it \n\n</think>\n\n?")
    responses = torch.tensor([[decision.short, other], [decision.long, decision.short], [other, decision.short]])
    short, long = mode_masks(responses, decision)
    assert short.tolist() == [True, False, False]
    assert long.tolist() == [False, True, False]
    assert bench.reader.mode(quoting) is LONG
    assert bench.reader.mode([decision.short]) is SHORT
    assert bench.reader.mode([other, decision.long]) is None
    assert bench.reader.mode([]) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"\n\n</think>\n\n{CALL}", Trajectory(SHORT, (ADD,))),
        (f"\nLet me add.\n</think>\n\n{CALL}\n{CALL}", Trajectory(LONG, (ADD, ADD))),
        (f"\nAdd.\n</think>\n\nHere: {CALL}", Trajectory(LONG, (ADD,))),
        ("\n\n</think>\n\nHello", Trajectory(SHORT)),
        (f"\nDraft {CALL}\n</think>\n\nHello", Trajectory(LONG)),
        ("Hello", Trajectory(None, fault=Fault.NO_DECISION)),
        (f"\n\n{CALL}", Trajectory(SHORT, fault=Fault.PREFIX)),
        (f"\nstill thinking {CALL}", Trajectory(LONG, fault=Fault.OPEN_BLOCK)),
        ('\n\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": 1', Trajectory(SHORT, fault=Fault.BROKEN_CALL)),
        ('\n\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": b}}', Trajectory(SHORT, fault=Fault.BROKEN_CALL)),
        ("\n\n</think>\n\nHello</think>", Trajectory(SHORT, fault=Fault.MARKER)),
        ("\n\n</think>\n\n<tool_call>add", Trajectory(SHORT, fault=Fault.MARKER)),
        (f"\n\n</think>\n\nFirst I add. {CALL}", Trajectory(SHORT, (ADD,), Fault.TEXT_BESIDE_CALL)),
        ("\nHm.\n</think>\n\n", Trajectory(LONG, fault=Fault.EMPTY)),
        (f"\n</think>\n\n{CALL}", Trajectory(LONG, fault=Fault.EMPTY_BLOCK)),
        (f"\n \t \n</think>\n\n{CALL}", Trajectory(LONG, fault=Fault.EMPTY_BLOCK)),
        ('\n</think>\n\n<tool_call>\n{"name": "add"', Trajectory(LONG, fault=Fault.EMPTY_BLOCK)),
        ("\n", Trajectory(LONG, fault=Fault.EMPTY_BLOCK)),
    ],
)
def test_reading(bench: Bench, text: str, wanted: Trajectory) -> None:
    assert bench.read(text) == wanted


def test_the_tokens_of_the_think_block(bench: Bench) -> None:
    closed, open_block = bench.ids(f"\nAdd.\n</think>\n\n{CALL}"), bench.ids("\nAdd", ended=False)
    width = len(closed)
    inside = bench.reader.think_mask(torch.tensor([closed, open_block + [bench.eos] * (width - len(open_block))]))
    block = bench.renderer.ids("\nAdd.\n")
    assert inside[0].tolist() == [0 < at < len(block) for at in range(width)]
    assert inside[1, : len(open_block)].tolist() == [at > 0 for at in range(len(open_block))]


def test_a_response_without_its_end_is_truncated(bench: Bench) -> None:
    assert bench.read(f"\n\n</think>\n\n{CALL}", ended=False) == Trajectory(SHORT, fault=Fault.TRUNCATED)
    assert bench.read("\nHm", ended=False) == Trajectory(LONG, fault=Fault.TRUNCATED)
    assert bench.read("\n</think>\n\nab", ended=False) == Trajectory(LONG, fault=Fault.EMPTY_BLOCK)


def test_without_tools_a_call_is_no_call(bench: Bench) -> None:
    assert bench.read(f"\n\n</think>\n\n{CALL}", ()) == Trajectory(SHORT, fault=Fault.MARKER)


@pytest.mark.parametrize(
    "body",
    [
        CALL,
        f"Ж {CALL} and {CALL}",
        '<tool_call>{"arguments": "{\\"a\\": 2}", "name": "add"}',
        '<tool_call>{"name": "add", "arguments": {"b": [1, {"c": "</tool_call>"}]}',
        "<tool_call>oops</tool_call> and text",
    ],
)
@pytest.mark.parametrize("mode", [LONG, SHORT])
async def test_training_reads_what_the_server_reads(bench: Bench, mode: ResolvedMode, body: str) -> None:
    text = f"One plus…\n</think>\n\n{body}" if mode is LONG else body
    script = bench.ids(text)
    engine = ScriptedEngine(bench.tokenizer, (bench.eos,), lambda _: script, log_odds=50.0 if mode is LONG else -50.0)
    limits = TurnLimits(500, None, None)
    request = TurnRequest("t", 0, bench.prompt, Mode.AUTO, 0.0, limits, Sampling(temperature=0), tools=TOOLS)
    turn = Turn(engine, bench.renderer, PROFILE, request, load=UNRELIEVED)
    served = [event async for output in turn.run() for event in output.events]
    decision = bench.reader.decision
    first = decision.long if mode is LONG else decision.short
    trained = bench.reader.read(bench.prompt, [first, *decision.rest[mode], *script], TOOLS)
    assert trained.mode is turn.resolved is mode
    if trained.fault not in {Fault.BROKEN_CALL, Fault.MARKER}:
        assert list(trained.calls) == calls_of(served)
    assert (trained.fault is Fault.MARKER) == ("<tool_call>" in content_of(served))


def calls_of(events: list[Event]) -> list[Call]:
    names = [event.name for event in events if isinstance(event, ToolCallStart)]
    texts = ["".join(e.text for e in events if isinstance(e, ToolCallArguments) and e.index == at) for at in range(len(names))]
    return [Call(name, json.loads(text)) for name, text in zip(names, texts, strict=True)]


def content_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ContentDelta))


def test_a_checkpoint_that_cannot_do_auto_is_refused(bench: Bench) -> None:
    with pytest.raises(AutoToolError, match="cannot be trained for mode=auto"):
        TrajectoryReader(bench.tokenizer, BUILTIN["plain"], [bench.eos])
