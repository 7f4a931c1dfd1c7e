"""The checkpoint that the project trained, served by both engines and by stock vLLM: the same prompts and the same answers."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from autotool_bench import servers
from autotool_bench.load import CPU_FLAGS
from autotool_core import profile
from autotool_core.calls import Call, same_calls
from autotool_core.graded import LEVELS, Task, make
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_training import checkpoint

CHECKPOINT = Path(__file__).parents[2] / "training" / "checkpoints" / "graded-tiny"
TASKS = [make("test", level, 7, index) for level in LEVELS for index in range(2)]
FLAGS = {"max_model_len": "512", "max_num_seqs": "4"}
SWITCHES: dict[Mode, dict[str, Any]] = {
    Mode.AUTO: {},
    Mode.LONG: {"enable_thinking": True},
    Mode.SHORT: {"enable_thinking": False},
}
"""How stock servers are told the mode; `{"mode": ...}`, which the template takes too, is used where prompts are compared."""


def started(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a server of the checkpoint."""
    if kind != "transformers" and importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    flags = FLAGS | (CPU_FLAGS if kind != "transformers" else {})
    options = ["--model", str(CHECKPOINT), "--served-model-name", "tiny"]
    if kind == "stock":
        server = servers.stock_vllm(*options, *servers.PARSERS, *servers.engine_options(flags, ours=False))
    else:
        server = servers.autotool("--engine", kind, *options, *servers.engine_options(flags, ours=True))
    with servers.started(server, folder / f"{kind}.log"):
        yield server.url


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from started("stock", tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module", params=["vllm", "transformers"])
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from started(request.param, tmp_path_factory.mktemp("ours"))


def ask(url: str, task: Task, **extra: Any) -> Any:
    """The whole answer, greedy."""
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        return client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": task.request}],
            tools=list(task.tools),  # pyright: ignore[reportArgumentType]
            temperature=0,
            max_tokens=192,
            extra_body=extra,
        )


def read(answer: Any) -> tuple[str, list[Call]]:
    """Reasoning and calls of an answer."""
    message = answer.choices[0].message
    calls = [Call.parse(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return (getattr(message, "reasoning", None) or "").strip(), calls


@pytest.mark.parametrize("mode", list(Mode))
def test_stock_vllm_renders_the_prompt_of_every_mode(stock: str, mode: Mode) -> None:
    loaded = checkpoint.load(str(CHECKPOINT))
    renderer = PromptRenderer(loaded.tokenizer, profile.load(CHECKPOINT / profile.FILE_NAME))
    for task in TASKS:
        messages = [{"role": "user", "content": task.request}]
        body = {"messages": messages, "tools": list(task.tools), "chat_template_kwargs": {"mode": mode.value}}
        ids = httpx.post(stock.replace("/v1", "/tokenize"), json=body).raise_for_status().json()["tokens"]
        assert ids == renderer.render(messages, task.tools, mode)


@pytest.mark.parametrize("mode", [Mode.LONG, Mode.SHORT])
def test_both_servers_give_the_same_answer_in_a_forced_mode(stock: str, ours: str, mode: Mode) -> None:
    for task in TASKS:
        theirs = ask(stock, task, chat_template_kwargs=SWITCHES[mode])
        answer = ask(ours, task, mode=mode.value)
        assert answer.usage.prompt_tokens == theirs.usage.prompt_tokens
        reasoning, calls = read(answer)
        assert bool(reasoning) == (mode is Mode.LONG)
        assert (reasoning, len(calls)) == (read(theirs)[0], len(read(theirs)[1]))
        assert same_calls(calls, read(theirs)[1])


def test_in_auto_the_checkpoint_decides_alike_on_both(stock: str, ours: str) -> None:
    thought: list[bool] = []
    for task in TASKS:
        theirs, answer = read(ask(stock, task, chat_template_kwargs=SWITCHES[Mode.AUTO])), ask(ours, task, mode="auto")
        thought.append(answer.autotool["turns"][0]["resolved"] == "long")
        assert bool(read(answer)[0]) == bool(theirs[0]) == thought[-1]
        assert same_calls(read(answer)[1], theirs[1])
    assert not any(thought[:2])
    assert all(thought[-2:])
