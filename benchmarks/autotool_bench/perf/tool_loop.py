"""Wall time of a task: one request with server tools against the same loop in a client of stock vLLM.

The command is `autotool bench perf tool-loop`. The task is six calls over three turns, two in each, and an answer; every call
takes the same time. The model is a tiny one that memorizes these turns within a minute, so that both servers decode the same
tokens from the same prompts (needs the `train` extra). The client makes its calls one after another, as the examples of
OpenAI's documentation do, and in a second measurement at the same time. Both servers run; the one that is not measured is
suspended. Only ratios within a round count, each after a warm-up run; their medians are reported.
"""

import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from openai import AsyncOpenAI
from rich.progress import track

from autotool_bench.perf import servers
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_core.tool_formats.base import ToolFormat
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import IGNORE_INDEX
from autotool_training.scratch import ScratchSettings, make

ENGINE_FLAGS = {"max_model_len": "1024", "max_num_seqs": "4"}
NAME = "wait.step"
SCHEMA = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
TOOL = {"type": "function", "function": {"name": NAME, "description": "Take a step.", "parameters": SCHEMA}}
QUESTION = [{"role": "user", "content": "Take six steps."}]
TURNS = ((1, 2), (3, 4), (5, 6))
ANSWER = "All six are taken."
NUM_CALLS = 6
# The server's tool waits as long as the client's.
MODULE = """
import asyncio
from autotool_server.tools import tool

@tool(read_only=True)
async def step(number: int) -> str:
    "Take a step."
    await asyncio.sleep({seconds})
    return f"step {{number}} taken"
"""
Pair = tuple[servers.Server, "subprocess.Popen[bytes]"]
MEMORIZED_LOSS = 0.01
"""Mean loss in nats per token below which the turns count as memorized."""
MAX_STEPS = 2000


def conversation(turns: int) -> list[dict[str, Any]]:
    """Return the messages up to and including the given number of turns, each with its tool results."""
    messages: list[dict[str, Any]] = [*QUESTION]
    for numbers in TURNS[:turns]:
        calls = [_call(number) for number in numbers]
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": str(number), "content": f"step {number} taken"} for number in numbers]
    return messages


def _call(number: int) -> dict[str, Any]:
    return {"id": str(number), "type": "function", "function": {"name": NAME, "arguments": json.dumps({"number": number})}}


def train_model(folder: Path) -> None:
    """Write a checkpoint that has memorized the task. Raises AutoToolError if the training does not reach MEMORIZED_LOSS."""
    checkpoint = make(ScratchSettings(hidden_size=64, layers=2, heads=2, intermediate_size=128), seed=0)
    examples = [_example(checkpoint, turn) for turn in range(len(TURNS) + 1)]
    optimizer = torch.optim.AdamW(checkpoint.model.parameters(), lr=3e-3)
    for _ in range(MAX_STEPS):
        losses = [checkpoint.model(input_ids=ids, labels=labels).loss for ids, labels in examples]
        loss = torch.stack(losses).mean()
        if loss.item() < MEMORIZED_LOSS:
            checkpoint.save(folder)
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AutoToolError(f"The tiny model did not memorize its turns in {MAX_STEPS} steps.")


def _example(checkpoint: Checkpoint, turn: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids (1, T) of a prompt and its answer, and labels (1, T) on the answer alone."""
    renderer = PromptRenderer(checkpoint.tokenizer, checkpoint.profile)
    prompt = renderer.render(conversation(turn), [TOOL], Mode.SHORT)
    answer = [*renderer.ids(_text(turn, checkpoint.profile.tool_format)), checkpoint.tokenizer.eos_token_id]
    return torch.tensor([[*prompt, *answer]]), torch.tensor([[IGNORE_INDEX] * len(prompt) + answer])


def _text(turn: int, tool_format: ToolFormat) -> str:
    if turn == len(TURNS):
        return ANSWER
    return tool_format.render_calls([(NAME, {"number": number}) for number in TURNS[turn]])


async def with_server_tools(client: AsyncOpenAI) -> float:
    """Return the seconds of one request in which the server runs the loop."""
    create: Any = client.chat.completions.create
    start = time.perf_counter()
    tools = [{"type": "server", "name": NAME}]
    body = {"mode": "short"}
    answer = await create(model="task", messages=QUESTION, tools=tools, temperature=0, max_tokens=400, extra_body=body)
    seconds = time.perf_counter() - start
    outcomes = [execution["outcome"] for turn in answer.autotool["turns"] for execution in turn["executions"]]
    _check(answer.choices[0].message.content, len(outcomes) if set(outcomes) == {"ok"} else 0)
    return seconds


async def with_client_tools(client: AsyncOpenAI, seconds: float, *, parallel: bool) -> float:
    """Return the seconds of the loop in a client whose calls take `seconds` each."""
    create: Any = client.chat.completions.create
    start = time.perf_counter()
    messages, num_calls = [*QUESTION], 0
    body = {"chat_template_kwargs": {"enable_thinking": False}}
    while True:
        answer = await create(model="task", messages=messages, tools=[TOOL], temperature=0, max_tokens=100, extra_body=body)
        message = answer.choices[0].message
        calls = message.tool_calls or []
        if not calls or num_calls > NUM_CALLS:
            break
        num_calls += len(calls)
        messages += [message.model_dump(include={"role", "content", "tool_calls"}), *await _run(calls, seconds, parallel)]
    wall_time = time.perf_counter() - start
    _check(message.content, num_calls)
    return wall_time


async def _run(calls: Sequence[Any], seconds: float, parallel: bool) -> list[dict[str, Any]]:
    """Make a turn's calls, at the same time or one after another; return the tool messages."""

    async def execute(call: Any) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        number = json.loads(call.function.arguments)["number"]
        return {"role": "tool", "tool_call_id": call.id, "content": f"step {number} taken"}

    return list(await asyncio.gather(*map(execute, calls))) if parallel else [await execute(call) for call in calls]


def _check(content: str | None, num_calls: int) -> None:
    if (content or "").strip() != ANSWER or num_calls != NUM_CALLS:
        raise AutoToolError(f"The task was not completed: {num_calls} calls, answer {content!r}.")


async def measure_rounds(ours: Pair, stock: Pair, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the ratios of each round: this server's time over that of either client. One server runs at a time."""
    ratios: dict[str, list[float]] = {"one after the other": [], "at the same time": []}
    async with (
        AsyncOpenAI(base_url=ours[0].url, api_key="none") as server,
        AsyncOpenAI(base_url=stock[0].url, api_key="none") as client,
    ):
        for _ in track(range(rounds), "rounds"):
            with servers.paused(stock[1]):
                await with_server_tools(server)
                ours_time = await with_server_tools(server)
            with servers.paused(ours[1]):
                await with_client_tools(client, 0, parallel=True)
                ratios["one after the other"].append(ours_time / await with_client_tools(client, seconds, parallel=False))
                ratios["at the same time"].append(ours_time / await with_client_tools(client, seconds, parallel=True))
    return ratios


def measure(rounds: int, seconds: float, out: Path | None) -> None:
    """Train the model, start both servers, measure, print the median ratios and write every round's to `out`."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        train_model(folder / "model")
        (folder / "waiting.py").write_text(MODULE.format(seconds=seconds))
        (folder / "tools.toml").write_text('[python.wait]\nmodule = "waiting"\n')
        both = [
            (server, running.enter_context(servers.started(server, folder / f"{server.name}.log")))
            for server in _servers(folder)
        ]
        ratios = asyncio.run(measure_rounds(both[0], both[1], rounds, seconds))
    for order, values in ratios.items():
        plain_console().print(
            f"wall time relative to a client that makes its calls {order}: median {statistics.median(values):.2f}"
        )
    if out is not None:
        out.write_text(json.dumps(ratios))


def _servers(folder: Path) -> tuple[servers.Server, servers.Server]:
    """Return this server with the folder's tools, and stock vLLM, with the folder's model and the same engine flags."""
    flags = ENGINE_FLAGS | (servers.CPU_FLAGS if servers.is_cpu() else {})
    shared = ["--model", str(folder / "model"), "--served-model-name", "task"]
    tools = ["--tools", str(folder / "tools.toml")]
    ours = servers.autotool("--engine", "vllm", *shared, *tools, *servers.engine_options(flags, ours=True))
    return ours, servers.stock_vllm(*shared, *servers.PARSERS, *servers.engine_options(flags, ours=False))
