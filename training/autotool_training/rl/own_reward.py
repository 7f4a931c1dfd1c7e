"""Rewards of one's own: the functions that `rl.reward` names give the rewards in place of the reward table.

    def reward(records: Sequence[Record], answers: Sequence[Answer]) -> Sequence[float]:
        return [float(answer.right) - 0.001 * answer.tokens for answer in answers]

`records` (`common.records.Record`) and `answers` have the same length: each answer with the record that it answers. The result
has one finite number for each answer. The rewards of several functions are added up.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.common.records import Record
from autotool_training.rl.reward import Scored, reward_mode, table_reward
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import RewardTable


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reward function sees of an answer."""

    mode: ResolvedMode
    """`long` or `short`."""
    reasoning: str
    """The text of the think block."""
    content: str
    """The text of the answer, without its calls."""
    calls: tuple[Call, ...]
    """The calls, each with `name` and `arguments`; none if one of them is broken."""
    fault: str | None
    """Why the answer is malformed (`rl.trajectory.Fault`), as in `truncated`; None for a well-formed one."""
    right: bool
    """Whether it is well-formed and makes the calls of the record."""
    tokens: int
    """Tokens of the whole answer."""
    think_tokens: int
    """Tokens of the think block."""
    table_reward: float
    """The reward that the table gives it."""


RewardFunction = Callable[[Sequence[Record], Sequence[Answer]], Sequence[float]]


class OwnReward:
    """The reward functions of a run, each `module:function`. Modules are also looked for in the current folder.

    Raises AutoToolError if a module or a function is not found.
    """

    def __init__(self, names: Sequence[str], table: RewardTable) -> None:
        self._functions = [(name, _load(name)) for name in names]
        self._lowest = table_reward(table, None, right=False)

    def apply(self, records: Sequence[Record], scored: Sequence[Scored]) -> list[Scored]:
        """Return the scores with the functions' rewards; `records` has the record of each.

        A rollout without a decision, or long with an empty think block, keeps the table's lowest reward, and no function sees
        it. Raises AutoToolError if a function gives another number of rewards or something that is no finite number.
        """
        seen = [at for at, one in enumerate(scored) if reward_mode(one.trajectory) is not None]
        rewards = dict.fromkeys(range(len(scored)), self._lowest)
        if seen:
            rewards |= dict(
                zip(seen, self._sums([records[at] for at in seen], [_answer(scored[at]) for at in seen]), strict=True)
            )
        return [replace(one, reward=rewards[at]) for at, one in enumerate(scored)]

    def _sums(self, records: Sequence[Record], answers: Sequence[Answer]) -> list[float]:
        given = [_numbers(name, function(records, answers), len(answers)) for name, function in self._functions]
        return [sum(values) for values in zip(*given, strict=True)]


def load_rewards(settings: RlSettings) -> OwnReward | None:
    """Return the reward functions of a run; None for the reward table. Raises AutoToolError if one is not found."""
    names = settings.reward_names
    return OwnReward(names, settings.objective.rewards) if names else None


def _answer(scored: Scored) -> Answer:
    trajectory = scored.trajectory
    assert trajectory.mode is not None  # noqa: S101 those without a decision are not asked about
    return Answer(
        mode=trajectory.mode,
        reasoning=trajectory.reasoning,
        content=trajectory.content,
        calls=trajectory.calls,
        fault=None if trajectory.fault is None else trajectory.fault.value,
        right=scored.right,
        tokens=scored.length,
        think_tokens=scored.think_length,
        table_reward=scored.reward,
    )


def _load(name: str) -> RewardFunction:
    module_name, _, function_name = name.partition(":")
    if (folder := os.getcwd()) not in sys.path:  # noqa: PTH109 an entry of sys.path
        # Last, so that no file of the folder hides an installed module.
        sys.path.append(folder)
    try:
        function: Any = getattr(import_module(module_name), function_name, None)
    except ModuleNotFoundError as error:
        raise AutoToolError(
            f"rl.reward: {name}: there is no module {error.name}: start in the folder of its file, or name that in PYTHONPATH."
        ) from error
    except Exception as error:
        raise AutoToolError(
            f"rl.reward: {name}: the module {module_name} cannot be imported ({type(error).__name__}: {error}): mend it."
        ) from error
    if not callable(function):
        raise AutoToolError(f"rl.reward: {name}: the module {module_name} has no function {function_name}: define it there.")
    return cast("RewardFunction", function)


def _numbers(name: str, given: Any, count: int) -> list[float]:
    try:
        values = list(given)
    except TypeError:
        raise AutoToolError(f"rl.reward: {name} returned no list: return one number for each of the answers.") from None
    if len(values) != count:
        raise AutoToolError(
            f"rl.reward: {name} returned {len(values)} rewards for {count} answers: return one number for each of them."
        )
    return [_number(name, at, value) for at, value in enumerate(values)]


def _number(name: str, at: int, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise AutoToolError(
            f"rl.reward: {name} returned something else than a finite number for answer {at} "
            f"({type(value).__name__}): return a number for every answer, malformed ones too."
        )
    return number
