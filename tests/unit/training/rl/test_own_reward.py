"""Reward functions of one's own: what they see, and the errors of those that cannot be used."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.tiny import make_tokenizer
from support.training import records

from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_training.rl.own_reward import Answer, OwnReward, load_rewards
from autotool_training.rl.reward import RolloutScorer, Scored
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import ObjectiveSettings, RewardTable
from autotool_training.rl.trajectory import TrajectoryReader

PROFILE = BUILTIN["smollm2-autotool"]
CODE = """
import numpy

calls = []

def tokens(records, answers):
    calls.append((list(records), list(answers)))
    return [answer.tokens for answer in answers]

def from_numpy(records, answers):
    return numpy.full(len(answers), 0.5, dtype=numpy.float32)

def one(records, answers):
    return [1.0]

def nothing(records, answers):
    return None

def words(records, answers):
    return ["1.0" for _ in answers]

def infinite(records, answers):
    return [float("inf") for _ in answers]

number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the current folder, which no other test has imported."""
    (tmp_path / "my_rewards.py").write_text(CODE)
    (tmp_path / "my_broken_rewards.py").write_text("def reward(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)


def scored(*texts: str) -> list[Scored]:
    tokenizer = make_tokenizer()
    renderer = PromptRenderer(tokenizer, PROFILE)
    scorer = RolloutScorer(TrajectoryReader(tokenizer, PROFILE, [tokenizer.eos_token_id]), ObjectiveSettings(), 200)
    # A block that is closed at once is one token of the decision, so that its text is encoded alone.
    starts = ["\n\n</think>\n\n" if text.startswith("\n\n</think>\n\n") else "" for text in texts]
    rest = [text.removeprefix(start) for text, start in zip(texts, starts, strict=True)]
    ids = [
        [*renderer.ids(start), *renderer.ids(text), tokenizer.eos_token_id] for start, text in zip(starts, rest, strict=True)
    ]
    return [scorer.score([0], response, [], []) for response in ids]


def test_a_function_sees_records_and_answers_and_its_rewards_are_added_up() -> None:
    long, short = scored("\nLet me see.\n</think>\n\nHello", "\n\n</think>\n\nHello")
    own = OwnReward(["my_rewards:tokens", "my_rewards:from_numpy"], RewardTable())
    some = records(2)
    rewards = [one.reward for one in own.apply(some, [long, short])]
    assert rewards == [long.length + 0.5, short.length + 0.5]
    seen_records, answers = sys.modules["my_rewards"].calls[0]
    assert seen_records == some
    assert answers[0] == Answer(
        mode=ResolvedMode.LONG,
        reasoning="Let me see.",
        content="Hello",
        calls=(),
        fault=None,
        right=True,
        tokens=long.length,
        think_tokens=long.think_length,
        table_reward=0.5,
    )
    assert (answers[1].mode, answers[1].content, answers[1].table_reward) == (ResolvedMode.SHORT, "Hello", 1.0)


def test_without_a_decision_or_a_thought_the_reward_is_the_tables_lowest_and_no_function_is_asked() -> None:
    own = OwnReward(["my_rewards:tokens"], RewardTable(wrong_short=-7))
    rollouts = scored("Hello", "\n \n</think>\n\nHello", "\n\n</think>\n\nHello")
    assert [one.reward for one in own.apply(records(3), rollouts)] == [-7, -7, rollouts[2].length]
    assert sys.modules["my_rewards"].calls[0][0] == records(3)[2:]
    assert [one.reward for one in own.apply(records(1), rollouts[:1])] == [-7]
    assert len(sys.modules["my_rewards"].calls) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_rewards:tokens", "there is no module no_such_rewards: start in the folder of its file"),
        ("my_rewards:tokenz", "the module my_rewards has no function tokenz"),
        ("my_rewards:number", "the module my_rewards has no function number"),
        ("my_broken_rewards:any", r"my_broken_rewards cannot be imported \(SyntaxError"),
    ],
)
def test_a_function_that_is_not_found_is_named_before_anything_starts(name: str, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        load_rewards(RlSettings(reward=name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one", "returned 1 rewards for 2 answers: return one number for each"),
        ("nothing", "returned no list"),
        ("words", r"finite number for answer 0 \(str\)"),
        ("infinite", r"finite number for answer 0 \(float\)"),
    ],
)
def test_rewards_that_cannot_be_used_are_named(name: str, message: str) -> None:
    own = OwnReward([f"my_rewards:{name}"], RewardTable())
    two: Sequence[Scored] = scored("\n\n</think>\n\nHello", "\n\n</think>\n\nHello you")
    with pytest.raises(AutoToolError, match=message):
        own.apply(records(2), two)


def test_the_table_is_the_default() -> None:
    assert load_rewards(RlSettings()) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": "my_rewards"}, 'write "module:function"'),
        ({"reward": []}, 'write "module:function"'),
        ({"reward": ".mod:f"}, 'write "module:function"'),
        ({"reward": "a:b", "objective": {"variant": "length-penalty"}}, "leave one out"),
        ({"reward": "a:b", "objective": {"length_bonus": 0.5}}, "leave one out"),
    ],
)
def test_names_and_combinations_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RlSettings.model_validate(settings)
