"""A checkpoint that was trained here, served by both engines and by stock vLLM: the same prompts and the same answers."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from transformers import AutoTokenizer

from autotool_bench.perf import servers
from autotool_core import profile
from autotool_core.calls import Call, same_calls
from autotool_core.graded import LEVELS, Task, make
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.prompt import PromptRenderer
from autotool_training.common.server_sampling import ServerSampler

CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
RENDERER = PromptRenderer(AutoTokenizer.from_pretrained(CHECKPOINT), profile.load_profile(CHECKPOINT / profile.FILE_NAME))
TASKS = [make("test", level, 7, index) for level in LEVELS for index in range(2)]
Seen = tuple[dict[Mode, list[list[int]]], dict[Mode, list["Answer"]], list[list[int]]]
"""The prompts of stock vLLM as token ids, and its answers, by mode; and what training samples from it in `auto`."""
DECISIONS = (RENDERER.decision_tokens.long, RENDERER.decision_tokens.short) if RENDERER.decision_tokens else ()
FLAGS = {"max_model_len": "512", "max_num_seqs": str(len(TASKS))}
SWITCHES: dict[Mode, dict[str, Any]] = {
    Mode.AUTO: {},
    Mode.LONG: {"enable_thinking": True},
    Mode.SHORT: {"enable_thinking": False},
}
"""The fields that ask stock servers for a mode; comparisons of prompts use `{"mode": ...}`, which the template takes too."""


@dataclass(frozen=True)
class Answer:
    """What a server made of a task."""

    prompt_tokens: int
    reasoning: str
    calls: Sequence[Call]
    resolved: str | None
    """Read the mode from this server's decision record."""


@contextmanager
def started(kind: str, folder: Path) -> Iterator[str]:
    """A server of the checkpoint, by its URL. One at a time: an idle vLLM worker takes a core from the other."""
    if kind != "transformers" and importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    flags = FLAGS | (servers.CPU_FLAGS if kind != "transformers" else {})
    options = ["--model", str(CHECKPOINT), "--served-model-name", "tiny"]
    if kind == "stock":
        server = servers.stock_vllm(*options, *servers.PARSERS, *servers.engine_options(flags, ours=False))
    else:
        server = servers.autotool("--engine", kind, *options, *servers.engine_options(flags, ours=True))
    with servers.started(server, folder / f"{kind}.log"):
        yield server.url


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The prompts and answers of stock vLLM, which gets the mode by its template's variables."""
    with started("stock", tmp_path_factory.mktemp("stock")) as url:
        prompts = {mode: [tokenized(url, task, mode) for task in TASKS] for mode in Mode}
        sampled = ServerSampler(url).sample_deciding(prompts[Mode.AUTO], 64, DECISIONS)
        return prompts, {mode: ask_all(url, chat_template_kwargs=SWITCHES[mode]) for mode in Mode}, sampled


@pytest.fixture(scope="module", params=["vllm", "transformers"])
def ours(request: pytest.FixtureRequest, stock: Seen, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Mode, list[Answer]]:
    """The answers of this server over an engine, which is started when stock vLLM has ended."""
    with started(request.param, tmp_path_factory.mktemp("ours")) as url:
        return {mode: ask_all(url, mode=mode.value) for mode in Mode}


def tokenized(url: str, task: Task, mode: Mode) -> list[int]:
    body = {"messages": messages(task), "tools": list(task.tools), "chat_template_kwargs": {"mode": mode.value}}
    return httpx.post(url.replace("/v1", "/tokenize"), json=body).raise_for_status().json()["tokens"]


def messages(task: Task) -> list[Any]:
    return [{"role": "user", "content": task.request}]


def ask_all(url: str, **extra: Any) -> list[Answer]:
    """The answers to all tasks, asked for at once: one batch takes little longer than one request."""
    with ThreadPoolExecutor(len(TASKS)) as pool:
        return list(pool.map(lambda task: ask(url, task, **extra), TASKS))


def ask(url: str, task: Task, **extra: Any) -> Answer:
    """The whole answer, greedy."""
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        tools: Any = list(task.tools)
        made: Any = client.chat.completions.create(
            model="tiny", messages=messages(task), tools=tools, temperature=0, max_tokens=224, extra_body=extra
        )
    message, record = made.choices[0].message, getattr(made, "autotool", None)
    calls = [Call.parse(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    reasoning = (getattr(message, "reasoning", None) or "").strip()
    return Answer(made.usage.prompt_tokens, reasoning, calls, record and record["turns"][0]["resolved"])


@pytest.mark.parametrize("mode", list(Mode))
def test_stock_vllm_renders_the_prompt_of_every_mode(stock: Seen, mode: Mode) -> None:
    assert stock[0][mode] == [RENDERER.render(messages(task), task.tools, mode) for task in TASKS]


def test_refinement_samples_from_stock_vllm(stock: Seen) -> None:
    eos = AutoTokenizer.from_pretrained(CHECKPOINT).eos_token_id
    assert {response[0] for response in stock[2]} <= {*DECISIONS}
    ended = [response for response in stock[2] if len(response) < 64]
    assert ended
    assert all(response.index(eos) == len(response) - 1 for response in ended)


@pytest.mark.parametrize("mode", list(Mode))
def test_both_servers_give_the_same_answers(stock: Seen, ours: Mapping[Mode, list[Answer]], mode: Mode) -> None:
    decision = RENDERER.decision_tokens
    assert decision is not None
    for answer, theirs in zip(ours[mode], stock[1][mode], strict=True):
        assert answer.reasoning == theirs.reasoning
        assert same_calls(answer.calls, theirs.calls)
        assert bool(answer.reasoning) == (answer.resolved == "long")
        # What completes the prefix after the decision is injected here, and decoded by the model there.
        injected = decision.rest[ResolvedMode(answer.resolved)] if mode is Mode.AUTO else ()
        assert answer.prompt_tokens == theirs.prompt_tokens + len(injected)


def test_answers_are_read_whole_in_every_mode(ours: Mapping[Mode, list[Answer]]) -> None:
    assert all(answer.reasoning for answer in ours[Mode.LONG])
    assert not any(answer.reasoning for answer in ours[Mode.SHORT])
    assert {answer.resolved for answer in ours[Mode.AUTO]} <= {"long", "short"}
    # Not each answer is right, but a checkpoint whose answers are read wrongly has none.
    right = [same_calls(answer.calls, task.calls) for answer, task in zip(ours[Mode.LONG], TASKS, strict=True)]
    assert sum(right) > len(TASKS) / 2


def test_it_never_thinks_at_the_lowest_level_and_does_at_the_highest_ones(ours: Mapping[Mode, list[Answer]]) -> None:
    resolved = [answer.resolved for answer in ours[Mode.AUTO]]
    assert "long" not in resolved[:2]
    assert resolved[-6:].count("long") >= 3
