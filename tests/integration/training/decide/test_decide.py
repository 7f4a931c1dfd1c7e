"""A decision head of the shipped tiny base, served: other decisions, and the same answers in the forced modes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.serving import MODEL, Running, running

from autotool_core.decision import auc
from autotool_core.graded import LEVELS, Task, make
from autotool_core.modes import Mode
from autotool_core.profile import Profile, load_profile
from autotool_server.engines.transformers import TransformersEngine
from autotool_training.data.sources.graded import record
from autotool_training.decide.train import train

CHECKPOINT = Path(__file__).parents[4] / "training" / "checkpoints" / "graded-tiny-base"
HARD = 4
"""The level from which on tasks are labelled long here. Labels of the base itself take answers in both modes."""
TASKS = [make("test", level, 7, index) for level in LEVELS for index in range(3)]
PROFILE = load_profile(CHECKPOINT / "mode_profile.json")
Answers = Mapping[str, list[Mapping[str, Any]]]
"""The answers to TASKS by mode."""


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(CHECKPOINT))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A profile whose head was trained on tasks of other wordings than TASKS."""
    out = tmp_path_factory.mktemp("decide") / "decide.json"
    tasks = [make("train", level, 11, index) for level in LEVELS for index in range(15)]
    labelled = [record(task).model_copy(update={"label": "long" if task.level >= HARD else "short"}) for task in tasks]
    result = train(str(CHECKPOINT), labelled, out, console=Console(file=StringIO()))
    assert result.trained.loss < result.own.loss
    return load_profile(out)


async def answer(server: Running, task: Task, mode: str) -> Mapping[str, Any]:
    create: Any = server.client.chat.completions.create
    given = {"mode": mode, "return_token_ids": True}
    messages = [{"role": "user", "content": task.request}]
    # None is cut: the decision counts towards the limit, so that auto would be cut a token earlier.
    done = await create(model=MODEL, messages=messages, tools=[*task.tools], max_tokens=320, temperature=0, extra_body=given)
    return done.model_dump()


async def answers(engine: TransformersEngine, profile: Profile, mode: str) -> list[Mapping[str, Any]]:
    async with running(engine, profile) as server:
        return await asyncio.gather(*(answer(server, task, mode) for task in TASKS))


@pytest.fixture(scope="module")
async def before(engine: TransformersEngine) -> Answers:
    """The answers of the base with its own head."""
    return {mode: await answers(engine, PROFILE, mode) for mode in Mode}


@pytest.fixture(scope="module")
async def after(engine: TransformersEngine, trained: Profile) -> Answers:
    """The answers of the base with the trained head."""
    return {mode: await answers(engine, trained, mode) for mode in Mode}


@pytest.mark.parametrize("mode", ["long", "short"])
def test_forced_answers_are_token_for_token_the_same(before: Answers, after: Answers, mode: str) -> None:
    for old, new in zip(before[mode], after[mode], strict=True):
        assert old["prompt_token_ids"] == new["prompt_token_ids"]
        assert old["choices"][0]["token_ids"] == new["choices"][0]["token_ids"] != []


def test_the_decision_follows_the_labels(before: Answers, after: Answers) -> None:
    own, turns = ([done["autotool"]["turns"][0] for done in given["auto"]] for given in (before, after))
    ranked = auc([turn["p_long"] for turn in turns], [task.level >= HARD for task in TASKS])
    assert ranked > max(0.8, auc([turn["p_long"] for turn in own], [task.level >= HARD for task in TASKS]))
    assert all((turn["p_long"] > 0.5) == (turn["resolved"] == "long") for turn in turns)


def written(answer: Any) -> Any:
    """Return what an answer says, without the ids of its calls, which are made up anew each time."""
    message = answer["choices"][0]["message"]
    return {**message, "tool_calls": [call["function"] for call in message["tool_calls"] or ()]}


def test_what_follows_a_decision_is_the_forced_answer(after: Answers) -> None:
    for at, done in enumerate(after["auto"]):
        same = after[done["autotool"]["turns"][0]["resolved"]][at]
        assert written(done) == written(same)
