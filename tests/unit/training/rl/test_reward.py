"""The reward table, its break-even, and what a malformed or truncated rollout gets."""

import pytest
from pydantic import ValidationError
from support.tiny import make_tokenizer

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_training.rl.reward import RolloutScorer, Scored, is_right, length_reward, parse_gold, reward_range, table_reward
from autotool_training.rl.settings import EntropyTargets, ObjectiveSettings, RewardTable
from autotool_training.rl.trajectory import Fault, Trajectory, TrajectoryReader

PROFILE = BUILTIN["smollm2-autotool"]
TARGETS = EntropyTargets(short=1, long=1, shared=1)
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
ADD = Call("add", {"a": 1})
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1.0}}\n</tool_call>'
CLOSED = "\n\n</think>\n\n"
SHORT, LONG = ResolvedMode.SHORT, ResolvedMode.LONG


def score(text: str, settings: ObjectiveSettings, *, ended: bool = True) -> Scored:
    tokenizer = make_tokenizer()
    renderer = PromptRenderer(tokenizer, PROFILE)
    reader = TrajectoryReader(tokenizer, PROFILE, [tokenizer.eos_token_id])
    prompt = renderer.render([{"role": "user", "content": "?"}], TOOLS, Mode.AUTO)
    start = CLOSED if text.startswith(CLOSED) else ""
    response = [*renderer.ids(start), *renderer.ids(text.removeprefix(start)), *([tokenizer.eos_token_id] if ended else [])]
    return RolloutScorer(reader, settings, max_tokens=200).score(prompt, response, TOOLS, [ADD])


@pytest.mark.parametrize(
    ("mode", "right", "reward"), [(SHORT, True, 1.0), (LONG, True, 0.5), (LONG, False, -0.5), (SHORT, False, -1.0)]
)
def test_table(mode: ResolvedMode, *, right: bool, reward: float) -> None:
    assert table_reward(RewardTable(), mode, right=right) == reward


def test_without_a_decision_the_reward_is_the_lowest() -> None:
    assert table_reward(RewardTable(), None, right=False) == -1.0
    assert table_reward(RewardTable(wrong_long=-3), None, right=False) == -3.0


@pytest.mark.parametrize("p_long", [0.0, 0.25, 0.75, 1.0])
def test_short_is_better_only_above_the_break_even(p_long: float) -> None:
    table = RewardTable()
    assert table.break_even(p_long) == pytest.approx((p_long + 0.5) / 2)

    def expected(mode: ResolvedMode, p_right: float) -> float:
        return p_right * table_reward(table, mode, right=True) + (1 - p_right) * table_reward(table, mode, right=False)

    at = table.break_even(p_long)
    assert expected(SHORT, at) == pytest.approx(expected(LONG, p_long))
    assert expected(SHORT, at + 0.01) > expected(LONG, p_long) > expected(SHORT, at - 0.01)


@pytest.mark.parametrize(
    ("text", "ended", "right", "reward"),
    [
        (f"\n\n</think>\n\n{CALL}", True, True, 1.0),
        (f"\nHm.\n</think>\n\n{CALL}", True, True, 0.5),
        ("\nHm.\n</think>\n\nNo tool fits.", True, False, -0.5),
        (f"\n \n</think>\n\n{CALL}", True, False, -1.0),
        ("\n\n\n</think>\n\nNo tool fits.", True, False, -1.0),
        ("\n\n</think>\n\nNo tool fits.", True, False, -1.0),
        (f"\n\n</think>\n\n{CALL}", False, False, -1.0),
        (f"\nHm.\n</think>\n\n{CALL}", False, False, -0.5),
        (f"\n\n</think>\n\nHm. {CALL}", True, False, -1.0),
        (f"\nHm. {CALL}", True, False, -0.5),
        (CALL, True, False, -1.0),
    ],
)
def test_scoring(text: str, *, ended: bool, right: bool, reward: float) -> None:
    scored = score(text, ObjectiveSettings(targets=TARGETS), ended=ended)
    assert (scored.right, scored.reward) == (right, reward)


def test_tokens_of_the_think_block_are_counted_apart() -> None:
    tokenizer, settings = make_tokenizer(), ObjectiveSettings(targets=TARGETS)
    scored = score(f"\nHm.\n</think>\n\n{CALL}", settings)
    assert scored.think_length == len(tokenizer.encode("Hm.\n"))
    assert score(f"\n\n</think>\n\n{CALL}", settings).think_length == 0


def test_length_penalty_ignores_the_mode_and_the_length_of_wrong_answers() -> None:
    settings = ObjectiveSettings(variant="length-penalty", length_penalty=0.5)
    for text in (f"\n\n</think>\n\n{CALL}", f"\nHm.\n</think>\n\n{CALL}"):
        scored = score(text, settings)
        assert scored.reward == pytest.approx(1 - 0.5 * scored.length / 200)
    assert score("\n\n</think>\n\nNo.", settings).reward == -1.0
    assert length_reward(200, 200, 0.5, right=True) == 0.5


def test_a_length_bonus_pays_for_the_think_block_of_right_answers_alone() -> None:
    settings = ObjectiveSettings(variant="grpo", length_bonus=0.4)
    long = score(f"\nHm.\n</think>\n\n{CALL}", settings)
    assert long.reward == pytest.approx(0.5 + 0.4 * long.think_length / 200)
    assert long.think_length > 0
    assert score(f"\n\n</think>\n\n{CALL}", settings).reward == 1.0
    assert score("\nHm.\n</think>\n\nNo tool fits.", settings).reward == -0.5
    assert reward_range(settings) == (-1.0, 1.0)
    assert reward_range(settings.model_copy(update={"length_bonus": 0.8})) == (-1.0, 1.3)


def test_a_negative_length_bonus_is_a_price_that_leaves_right_above_wrong() -> None:
    settings = ObjectiveSettings(variant="grpo", length_bonus=-0.8)
    long = score(f"\nHm.\n</think>\n\n{CALL}", settings)
    assert long.reward == pytest.approx(0.5 - 0.8 * long.think_length / 200)
    assert score(f"\n\n</think>\n\n{CALL}", settings).reward == 1.0
    with pytest.raises(ValidationError, match=r"set it above -1 "):
        ObjectiveSettings(variant="grpo", length_bonus=-1.0)
    with pytest.raises(ValidationError, match=r"set it above -0\.2 "):
        ObjectiveSettings(variant="grpo", length_bonus=-0.5, rewards=RewardTable(right_long=0.0, wrong_long=-0.2))


def test_right_needs_equal_calls_and_no_fault() -> None:
    assert is_right(Trajectory(SHORT, (ADD,)), [ADD])
    assert is_right(Trajectory(SHORT), [])
    assert not is_right(Trajectory(SHORT, (ADD, ADD)), [ADD])
    assert not is_right(Trajectory(SHORT, (ADD,), Fault.TEXT_BESIDE_CALL), [ADD])


def test_gold() -> None:
    assert parse_gold('[{"name": "add", "arguments": {"a": 1}}]') == (ADD,)
    assert parse_gold("[]") == ()


@pytest.mark.parametrize("text", ["", "{", "1", '[{"name": "f"}]', '[{"name": "f", "arguments": 1}]', '["f"]'])
def test_gold_that_is_no_list_of_calls(text: str) -> None:
    with pytest.raises(AutoToolError, match="gold of a training item"):
        parse_gold(text)
