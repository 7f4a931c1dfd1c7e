"""Rewards: right or wrong by the calls, then by mode (the paper's table) or by length (an ablation).

Break-even of the table: a short trajectory has an expected reward of 2·p_short - 1 and a long one of p_long - 0.5, so that
short is better if p_short > (p_long + 0.5) / 2: a model with an accuracy of 0.75 when it thinks needs 0.625 without.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_core.calls import Call, same_calls
from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.rl.settings import ObjectiveSettings, RewardTable
from autotool_training.rl.trajectory import Fault, Trajectory, TrajectoryReader


@dataclass(frozen=True, slots=True)
class Scored:
    """A trajectory, its reward and its length in tokens, all of them and those of the think block."""

    trajectory: Trajectory
    right: bool
    reward: float
    length: int
    think_length: int = 0


def parse_gold(text: str) -> tuple[Call, ...]:
    """Parse a JSON list of `{"name", "arguments"}`, which is empty if no call is wanted. Raises AutoToolError."""
    try:
        return tuple(Call(call["name"], dict(call["arguments"])) for call in json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise AutoToolError(
            'gold of a training item is not a list of calls: write a JSON list of {"name": ..., "arguments": {...}}.'
        ) from None


def is_right(trajectory: Trajectory, gold: Sequence[Call]) -> bool:
    """Return whether the trajectory is well-formed and makes the wanted calls: equal multisets, all or nothing."""
    return trajectory.fault is None and same_calls(trajectory.calls, gold)


def table_reward(table: RewardTable, mode: ResolvedMode | None, *, right: bool) -> float:
    """Return the reward of a mode; None, which gets the lowest, is for a trajectory without a decision token or a thought."""
    if mode is ResolvedMode.LONG:
        return table.right_long if right else table.wrong_long
    if mode is ResolvedMode.SHORT:
        return table.right_short if right else table.wrong_short
    return min(table.wrong_short, table.wrong_long)


def reward_mode(trajectory: Trajectory) -> ResolvedMode | None:
    """Return the mode that a trajectory is rewarded as; None without a decision token or a thought."""
    # A long answer with nothing in its think block is no thought: it would halve the price of being wrong.
    return None if trajectory.fault is Fault.EMPTY_BLOCK else trajectory.mode


def length_reward(length: int, max_tokens: int, penalty: float, *, right: bool) -> float:
    """Return, if right, 1 - penalty · length / max_tokens. If wrong, -1, so that a shorter wrong answer gains nothing."""
    return 1 - penalty * length / max_tokens if right else -1.0


def reward_range(settings: ObjectiveSettings) -> tuple[float, float]:
    """Return the lowest and the highest possible reward."""
    if settings.variant == "length-penalty":
        return -1.0, 1.0
    table = settings.rewards
    values = [*table.model_dump().values(), table.right_long + settings.length_bonus]
    return min(values), max(values)


class RolloutScorer:
    """Scores rollouts of at most `max_tokens` tokens."""

    def __init__(self, reader: TrajectoryReader, settings: ObjectiveSettings, max_tokens: int) -> None:
        self._reader = reader
        self._settings = settings
        self._max_tokens = max_tokens

    def score(
        self, prompt_ids: Sequence[int], response_ids: Sequence[int], tools: Sequence[Mapping[str, Any]], gold: Sequence[Call]
    ) -> Scored:
        """Return the score of one response."""
        trajectory = self._reader.read(prompt_ids, response_ids, tools)
        right = is_right(trajectory, gold)
        length = len(response_ids)
        think_length = self._reader.think_length(response_ids)
        reward = self._reward(reward_mode(trajectory), length, think_length, right=right)
        return Scored(trajectory, right, reward, length, think_length)

    def _reward(self, mode: ResolvedMode | None, length: int, think_length: int, *, right: bool) -> float:
        settings = self._settings
        if settings.variant == "length-penalty":
            return length_reward(length, self._max_tokens, settings.length_penalty, right=right)
        # A short answer has a think length of 0.
        bonus = settings.length_bonus * think_length / self._max_tokens if right else 0.0
        return table_reward(settings.rewards, mode, right=right) + bonus
