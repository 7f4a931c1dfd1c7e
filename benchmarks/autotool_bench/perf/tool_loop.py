"""One request with server tools against the same loop in a client of stock vLLM: wall time of a task, interleaved.

    python -m autotool_bench.perf.tool_loop [--rounds 10] [--seconds 0.2] [--out tool_loop.json]

The task is six calls over three turns, two in each, and an answer; every call takes `--seconds`. The model is a tiny one that
has learned these turns by heart within a minute, so that both servers decode the same tokens from the same prompts (needs the
`train` extra). The client calls its tools one after the other, as the examples of OpenAI's documentation do, and in a second
measurement at the same time. Both servers are up, and the one that is not measured is held still. Only ratios within a round
mean anything, each after a run that counts for nothing; their medians are reported.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from openai import AsyncOpenAI
from rich.console import Console
from rich.progress import track

from autotool_bench.perf import servers
from autotool_bench.perf.load import CPU_FLAGS, is_cpu
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.scratch import ScratchSettings, make

FLAGS = {"max_model_len": "1024", "max_num_seqs": "4"}
NAME = "wait.step"
SCHEMA = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
TOOL = {"type": "function", "function": {"name": NAME, "description": "Take a step.", "parameters": SCHEMA}}
QUESTION = [{"role": "user", "content": "Take six steps."}]
TURNS = ((1, 2), (3, 4), (5, 6))
ANSWER = "All six are taken."
MOST_CALLS = 6
# The server's tool: the same wait as the client's, marked as what it is.
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
LEARNED = 0.01
"""Mean loss in nats a token under which the turns are known by heart."""
MAX_STEPS = 2000


def conversation(turns: int) -> list[dict[str, Any]]:
    """The question and the first turns, each with its results."""
    messages: list[dict[str, Any]] = [*QUESTION]
    for numbers in TURNS[:turns]:
        calls = [_call(number) for number in numbers]
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": str(number), "content": f"step {number} taken"} for number in numbers]
    return messages


def _call(number: int) -> dict[str, Any]:
    return {"id": str(number), "type": "function", "function": {"name": NAME, "arguments": json.dumps({"number": number})}}


def learned(folder: Path) -> None:
    """Write a checkpoint that knows the task by heart. Raises AutoToolError where it does not learn it."""
    checkpoint = make(ScratchSettings(hidden_size=64, layers=2, heads=2, intermediate_size=128), seed=0)
    examples = [_example(checkpoint, turn) for turn in range(len(TURNS) + 1)]
    optimizer = torch.optim.AdamW(checkpoint.model.parameters(), lr=3e-3)
    for _ in range(MAX_STEPS):
        losses = [checkpoint.model(input_ids=ids, labels=labels).loss for ids, labels in examples]
        loss = torch.stack(losses).mean()
        if loss.item() < LEARNED:
            checkpoint.save(folder)
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AutoToolError(f"The tiny model did not learn its turns by heart in {MAX_STEPS} steps.")


def _example(checkpoint: Checkpoint, turn: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (1, T) of a prompt and its answer, and labels (1, T) on the answer alone."""
    renderer = PromptRenderer(checkpoint.tokenizer, checkpoint.profile)
    prompt = renderer.render(conversation(turn), [TOOL], Mode.SHORT)
    answer = [*renderer.ids(_text(turn)), checkpoint.tokenizer.eos_token_id]
    return torch.tensor([[*prompt, *answer]]), torch.tensor([[-100] * len(prompt) + answer])


def _text(turn: int) -> str:
    if turn == len(TURNS):
        return ANSWER
    written = (f'{{"name": "{NAME}", "arguments": {{"number": {number}}}}}' for number in TURNS[turn])
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in written)


async def with_server_tools(client: AsyncOpenAI) -> float:
    """Seconds of one request, the server running the loop."""
    create: Any = client.chat.completions.create
    began = time.perf_counter()
    tools = [{"type": "server", "name": NAME}]
    body = {"mode": "short"}
    answer = await create(model="task", messages=QUESTION, tools=tools, temperature=0, max_tokens=400, extra_body=body)
    took = time.perf_counter() - began
    executions = [one["outcome"] for turn in answer.autotool["turns"] for one in turn["executions"]]
    _check(answer.choices[0].message.content, len(executions) if set(executions) == {"ok"} else 0)
    return took


async def with_client_tools(client: AsyncOpenAI, seconds: float, *, parallel: bool) -> float:
    """Seconds of the loop in a client."""
    create: Any = client.chat.completions.create
    began = time.perf_counter()
    messages, made = [*QUESTION], 0
    body = {"chat_template_kwargs": {"enable_thinking": False}}
    while True:
        answer = await create(model="task", messages=messages, tools=[TOOL], temperature=0, max_tokens=100, extra_body=body)
        message = answer.choices[0].message
        calls = message.tool_calls or []
        if not calls or made > MOST_CALLS:
            break
        made += len(calls)
        messages += [message.model_dump(include={"role", "content", "tool_calls"}), *await _run(calls, seconds, parallel)]
    took = time.perf_counter() - began
    _check(message.content, made)
    return took


async def _run(calls: Sequence[Any], seconds: float, parallel: bool) -> list[dict[str, Any]]:
    """The results of a turn's calls."""

    async def one(call: Any) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        number = json.loads(call.function.arguments)["number"]
        return {"role": "tool", "tool_call_id": call.id, "content": f"step {number} taken"}

    return list(await asyncio.gather(*map(one, calls))) if parallel else [await one(call) for call in calls]


def _check(content: str | None, made: int) -> None:
    if (content or "").strip() != ANSWER or made != MOST_CALLS:
        raise AutoToolError(f"The task was not done: {made} calls, answer {content!r}.")


async def measure(ours: Pair, stock: Pair, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Ratios of each round: this server's time over that of each kind of client. One server runs at a time."""
    ratios: dict[str, list[float]] = {"one after the other": [], "at the same time": []}
    async with (
        AsyncOpenAI(base_url=ours[0].url, api_key="none") as server,
        AsyncOpenAI(base_url=stock[0].url, api_key="none") as client,
    ):
        for _ in track(range(rounds), "rounds"):
            with servers.paused(stock[1]):
                await with_server_tools(server)
                took = await with_server_tools(server)
            with servers.paused(ours[1]):
                await with_client_tools(client, 0, parallel=True)
                ratios["one after the other"].append(took / await with_client_tools(client, seconds, parallel=False))
                ratios["at the same time"].append(took / await with_client_tools(client, seconds, parallel=True))
    return ratios


def main() -> None:
    """Learn, serve, measure, report."""
    options = _options()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        learned(folder / "model")
        (folder / "waiting.py").write_text(MODULE.format(seconds=options.seconds))
        (folder / "tools.toml").write_text('[python.wait]\nmodule = "waiting"\n')
        flags = FLAGS | (CPU_FLAGS if is_cpu() else {})
        shared = ["--model", str(folder / "model"), "--served-model-name", "task"]
        tools = ["--tools", str(folder / "tools.toml")]
        ours = servers.autotool("--engine", "vllm", *shared, *tools, *servers.engine_options(flags, ours=True))
        stock = servers.stock_vllm(*shared, *servers.PARSERS, *servers.engine_options(flags, ours=False))
        pairs = [(one, running.enter_context(servers.started(one, folder / f"{one.name}.log"))) for one in (ours, stock)]
        ratios = asyncio.run(measure(pairs[0], pairs[1], options.rounds, options.seconds))
    for kind, found in ratios.items():
        Console().print(f"wall time over a client that calls {kind}: median {statistics.median(found):.2f}")
    if options.out is not None:
        options.out.write_text(json.dumps(ratios))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.2, help="of one call")
    parser.add_argument("--out", type=Path, help="file for the ratios of every round")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except AutoToolError as error:
        sys.exit(str(error))
