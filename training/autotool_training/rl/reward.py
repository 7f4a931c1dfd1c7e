"""Rewards: right or wrong by the calls, then by mode (the paper's table) or by length (an ablation).

Break-even of the table: a short trajectory is worth 2·p_short - 1 on average and a long one p_long - 0.5, so short pays
only if p_short > (p_long + 0.5) / 2: a model that is right three times in four when it thinks needs 0.625 without.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_core.calls import Call, same_calls
from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.rl.settings import ObjectiveSettings, RewardTable
from autotool_training.rl.trajectory import Trajectory, TrajectoryReader


@dataclass(frozen=True, slots=True)
class Scored:
    """A trajectory, its reward and its length in tokens."""

    trajectory: Trajectory
    right: bool
    reward: float
    length: int


def parse_gold(text: str) -> tuple[Call, ...]:
    """Read a JSON list of `{"name", "arguments"}`, empty where no call is wanted. Raises AutoToolError."""
    try:
        return tuple(Call(call["name"], dict(call["arguments"])) for call in json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise AutoToolError(
            'gold of a training item is not a list of calls: write a JSON list of {"name": ..., "arguments": {...}}.'
        ) from None


def is_right(trajectory: Trajectory, gold: Sequence[Call]) -> bool:
    """Whether the trajectory is well-formed and makes the wanted calls: equal multisets, all or nothing."""
    return trajectory.fault is None and same_calls(trajectory.calls, gold)


def table_reward(table: RewardTable, mode: ResolvedMode | None, *, right: bool) -> float:
    """The reward of a mode; a trajectory without a decision is paid as the worst there is."""
    if mode is ResolvedMode.LONG:
        return table.right_long if right else table.wrong_long
    if mode is ResolvedMode.SHORT:
        return table.right_short if right else table.wrong_short
    return min(table.wrong_short, table.wrong_long)


def length_reward(length: int, longest: int, penalty: float, *, right: bool) -> float:
    """Right: 1 - penalty · length / longest. Wrong: -1, so that being brief never pays for being wrong."""
    return 1 - penalty * length / longest if right else -1.0


def reward_range(settings: ObjectiveSettings) -> tuple[float, float]:
    """The lowest and the highest reward that there can be."""
    if settings.variant == "length-penalty":
        return -1.0, 1.0
    table = settings.rewards.model_dump().values()
    return min(table), max(table)


class Scorer:
    """Scores rollouts of at most `longest` tokens."""

    def __init__(self, reader: TrajectoryReader, settings: ObjectiveSettings, longest: int) -> None:
        self._reader = reader
        self._settings = settings
        self._longest = longest

    def score(
        self, prompt_ids: Sequence[int], response_ids: Sequence[int], tools: Sequence[Mapping[str, Any]], gold: Sequence[Call]
    ) -> Scored:
        """Score one response."""
        trajectory = self._reader.read(prompt_ids, response_ids, tools)
        right = is_right(trajectory, gold)
        length = len(response_ids)
        return Scored(trajectory, right, self._reward(trajectory.mode, length, right=right), length)

    def _reward(self, mode: ResolvedMode | None, length: int, *, right: bool) -> float:
        if self._settings.variant == "length-penalty":
            return length_reward(length, self._longest, self._settings.length_penalty, right=right)
        return table_reward(self._settings.rewards, mode, right=right)
