"""Parsing of rollouts: the mode by the first token, the calls by the server's parser.

The mode cannot be read from the text, because a prompt or an answer may quote a marker. The reader takes the token ids
after the `auto` prefix and reads them as the server does: the decision token, the rest of the mode's prefix, then one
`TurnParser`. The server injects that rest; here the model writes it, because stock servers leave it to the model.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from autotool_core.calls import Call
from autotool_core.detokenizer import Detokenizer
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import Collected, collect
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.profile import Profile, ThinkFormat
from autotool_core.prompt import DecisionTokens, PromptRenderer
from autotool_core.tokenizer import Tokenizer


def mode_masks(response_ids: Tensor, decision: DecisionTokens) -> tuple[Tensor, Tensor]:
    """Return which responses (B, T) are short (m_i = 1) and which long: two (B,) of bool, both False without a decision."""
    first = response_ids[:, 0]
    return first == decision.short, first == decision.long


def think_mask(response_ids: Tensor, start: int, close: int) -> Tensor:
    """Return which tokens (B, T) of long responses are in the think block, which begins at `start` and ends before `close`."""
    inside = (response_ids == close).cumsum(1) == 0
    inside[:, :start] = False
    return inside


class Fault(StrEnum):
    """Why a trajectory is malformed."""

    NO_DECISION = "no decision token"
    PREFIX = "decision token without the rest of its prefix"
    TRUNCATED = "truncated"
    OPEN_BLOCK = "think block not closed"
    EMPTY_BLOCK = "nothing in the think block"
    BROKEN_CALL = "broken call"
    MARKER = "marker in the content"
    TEXT_BESIDE_CALL = "text beside the calls of a short answer"
    EMPTY = "neither content nor call"


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A parsed rollout."""

    mode: ResolvedMode | None
    """None if there is no decision token."""
    calls: tuple[Call, ...] = ()
    fault: Fault | None = None
    reasoning: str = field(default="", compare=False)
    content: str = field(default="", compare=False)


class TrajectoryReader:
    """Parses the rollouts of one checkpoint. Raises AutoToolError for a checkpoint that cannot answer in `auto`."""

    def __init__(self, tokenizer: Tokenizer, profile: Profile, eos_token_ids: Collection[int]) -> None:
        renderer = PromptRenderer(tokenizer, profile)
        if renderer.decision_tokens is None:
            raise AutoToolError(f"The checkpoint cannot be trained for mode=auto: {renderer.refusals[Mode.AUTO]}")
        self.decision = renderer.decision_tokens
        self.prefix_ids = renderer.prefix_ids[Mode.AUTO]
        self._tokenizer = tokenizer
        self._profile = profile
        self._kept = renderer.marker_ids
        self._block_start = 1 + len(self.decision.rest[ResolvedMode.LONG])
        # A checkpoint that can do `auto` has the marker as one token.
        self._close = renderer.ids((profile.think or ThinkFormat()).close)[-1]
        self._eos = frozenset(eos_token_ids)

    def mode(self, response_ids: Sequence[int]) -> ResolvedMode | None:
        """Return the mode of one response."""
        short, long = mode_masks(torch.tensor([list(response_ids[:1]) or [-1]]), self.decision)
        return ResolvedMode.SHORT if short.item() else ResolvedMode.LONG if long.item() else None

    def think_mask(self, response_ids: Tensor) -> Tensor:
        """Return which tokens (B, T) of long responses are in the think block."""
        return think_mask(response_ids, self._block_start, self._close)

    def think_length(self, response_ids: Sequence[int]) -> int:
        """Return the number of tokens in the think block of one response; 0 for one that is not long."""
        if self.mode(response_ids) is not ResolvedMode.LONG:
            return 0
        return int(self.think_mask(torch.tensor([list(response_ids)])).sum())

    def read(self, prompt_ids: Sequence[int], response_ids: Sequence[int], tools: Sequence[Mapping[str, Any]]) -> Trajectory:
        """Parse the response to a prompt that ends with the `auto` prefix. `tools` are the prompt's, in OpenAI's form."""
        mode = self.mode(response_ids)
        if mode is None:
            return Trajectory(None, fault=Fault.NO_DECISION)
        rest = self.decision.rest[mode]
        start = 1 + len(rest)
        if tuple(response_ids[1:start]) != rest:
            return Trajectory(mode, fault=Fault.PREFIX)
        whole = response_ids[-1] in self._eos
        parser = TurnParser(self._profile, self._profile.prefix(Mode(mode)), tools)
        detokenizer = Detokenizer(self._tokenizer, [*prompt_ids, *response_ids[:start]], self._kept)
        events = [
            *parser.feed(detokenizer.push(response_ids[start : len(response_ids) - whole])),
            *parser.feed(detokenizer.finish()),
            *parser.finish(),
        ]
        turn = collect(events)
        calls, fault = self._judge(mode, turn, whole=whole, is_open=parser.section is Section.REASONING)
        return Trajectory(mode, calls, fault, turn.reasoning, turn.content)

    def _judge(
        self, mode: ResolvedMode, turn: Collected, *, whole: bool, is_open: bool
    ) -> tuple[tuple[Call, ...], Fault | None]:
        if mode is ResolvedMode.LONG and not turn.reasoning.strip():
            return (), Fault.EMPTY_BLOCK
        if not whole:
            return (), Fault.TRUNCATED
        if turn.calls is None:
            return (), Fault.BROKEN_CALL
        return turn.calls, self._fault(mode, turn.content.strip(), turn.calls, is_open=is_open)

    def _fault(self, mode: ResolvedMode, content: str, calls: tuple[Call, ...], *, is_open: bool) -> Fault | None:
        if is_open:
            return Fault.OPEN_BLOCK
        if any(marker in content for marker in self._profile.markers):
            return Fault.MARKER
        if not content and not calls:
            return Fault.EMPTY
        # Reasoning outside of the think block would get the reward of a short answer.
        if content and calls and mode is ResolvedMode.SHORT:
            return Fault.TEXT_BESIDE_CALL
        return None
