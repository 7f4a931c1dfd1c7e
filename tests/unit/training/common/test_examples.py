"""Training uses what is served: prompts and answers have the token ids that the server injects and decodes."""

from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core import tool_formats
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import BUILTIN, Profile
from autotool_core.prompt import PromptRenderer
from autotool_training.common.examples import ExampleWriter, answer_text
from autotool_training.common.records import GoldCall, Record
from autotool_training.rl.reward import RolloutScorer
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import TrajectoryReader

PROFILE = BUILTIN["smollm2-autotool"]
CALL = GoldCall(name="weather", arguments={"city": "Rome"})


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "id": "1",
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
        "messages": [{"role": "user", "content": "Weather in Rome?"}],
        "calls": [CALL],
        "reasoning": "The city is Rome.",
        "source": "test",
        "licence": "Apache-2.0",
    }
    return Record(**{**given, **changes})


@pytest.fixture
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture
def writer(tokenizer: Any) -> ExampleWriter:
    return ExampleWriter(tokenizer, PROFILE, tokenizer.eos_token_id)


@pytest.mark.parametrize("mode", [Mode.LONG, Mode.SHORT])
def test_prompt_and_response_prefix_are_the_prompt_that_the_server_renders(
    writer: ExampleWriter, tokenizer: Any, mode: Mode
) -> None:
    served = PromptRenderer(tokenizer, PROFILE).render(record().messages, record().tools, mode)
    example = writer.example(record(), ResolvedMode(mode.value))
    learnt = [*example.prompt_ids, *example.response_ids]
    assert learnt[: len(served)] == served == writer.prompt(record(), mode)
    assert example.prompt_ids == writer.prompt(record(), Mode.AUTO) == served[: len(example.prompt_ids)]


def test_a_long_answer_thinks_closes_the_block_and_calls(writer: ExampleWriter, tokenizer: Any) -> None:
    example = writer.example(record(), ResolvedMode.LONG)
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    assert tokenizer.decode(example.response_ids) == f"\nThe city is Rome.\n</think>\n\n{call}<|im_end|>"


def test_a_short_answer_closes_the_block_at_once(writer: ExampleWriter, tokenizer: Any) -> None:
    example = writer.example(record(calls=[], content="Sunny."), ResolvedMode.SHORT)
    assert tokenizer.decode(example.response_ids) == "\n\n</think>\n\nSunny.<|im_end|>"


@pytest.mark.parametrize("mode", [ResolvedMode.LONG, ResolvedMode.SHORT])
@pytest.mark.parametrize("changes", [{}, {"content": "Let me look."}, {"calls": [], "content": "Sunny."}])
def test_trained_answers_get_the_reward_of_right_ones(
    writer: ExampleWriter, tokenizer: Any, mode: ResolvedMode, changes: dict[str, Any]
) -> None:
    changed = record(**changes)
    example, gold = writer.example(changed, mode), [Call(call.name, call.arguments) for call in changed.calls]
    reader = TrajectoryReader(tokenizer, PROFILE, [tokenizer.eos_token_id])
    scored = RolloutScorer(reader, ObjectiveSettings(variant="grpo"), max_tokens=999).score(
        example.prompt_ids, example.response_ids, changed.tools, gold
    )
    assert scored.reward == {ResolvedMode.LONG: 0.5, ResolvedMode.SHORT: 1.0}[mode]


def test_calls_follow_the_text_each_in_its_block() -> None:
    block = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    assert answer_text("Let me look.", [CALL, CALL], PROFILE.tool_format) == f"Let me look.\n{block}\n{block}"


def test_a_long_answer_needs_reasoning(writer: ExampleWriter) -> None:
    with pytest.raises(AutoToolError, match="Record 1 has no reasoning"):
        writer.example(record(reasoning=None), ResolvedMode.LONG)


def test_calls_are_written_in_the_profiles_tool_format(tokenizer: Any) -> None:
    profile = Profile(name="thinking-coder", tool_format=tool_formats.get("qwen3_coder"))
    example = ExampleWriter(tokenizer, profile, tokenizer.eos_token_id).example(record(), ResolvedMode.SHORT)
    call = "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>"
    assert tokenizer.decode(example.response_ids) == f"\n\n</think>\n\n{call}<|im_end|>"


def test_a_base_that_cannot_be_trained_is_refused(tokenizer: Any) -> None:
    with pytest.raises(AutoToolError, match="cannot think"):
        ExampleWriter(tokenizer, BUILTIN["plain"], tokenizer.eos_token_id)
