"""The matrix of a family: {long, short, auto} x {no tools, auto, required} x {stream, not}, through the whole server.

`python -m support.family_matrix FAMILY ...` runs it on the vLLM engine, one family after another, and prints a line for each.
"""

import asyncio
import json
import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from openai import BadRequestError, OpenAIError
from transformers import AutoModelForCausalLM

from autotool_core import tool_formats
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_server.engines import profiles
from autotool_server.engines.base import Engine
from autotool_server.engines.vllm import VllmEngine
from support.answers import assert_equal, streamed, whole
from support.engines import ask, collect
from support.families import FAMILIES, Family, save_checkpoint
from support.serving import MODEL, Running, running
from support.transformers_engine import generated

CHOICES = ("no tools", "auto", "required")
# Short ones, since every character is a token.
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}, "n": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["a", "n"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("f", "g")]
USER: Any = [{"role": "user", "content": "?"}]
PROMPT = [(37 * place + 11) % 250 for place in range(150)]
"""Tokens of a prompt that is longer than the sliding windows of the models."""


def request(mode: Mode, choice: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": MODEL, "messages": USER, "temperature": 0, "max_completion_tokens": 12}
    if choice != "no tools":
        # Where the chat template shows no tools (DeepSeek-V3), a message has to name them.
        body |= {"messages": [{"role": "user", "content": "f or g?"}], "tools": TOOLS}
        body |= {"tool_choice": choice, "parallel_tool_calls": choice == "auto"}
    if choice == "required":
        body["max_completion_tokens"] = 256
    return body | {"extra_body": {"mode": mode, "reasoning_bias": 99, "max_reasoning_tokens": 3}}


async def check(server: Running, mode: Mode, choice: str) -> None:
    body = request(mode, choice)
    first, second = await asyncio.gather(whole(server, body), streamed(server, body))
    assert_equal(first, second, f"{mode}, {choice}")
    assert first.turn["resolved"] == ("short" if mode is Mode.SHORT else "long")
    assert (first.turn["reasoning_tokens"] > 0) == (mode is not Mode.SHORT)
    if choice == "required":
        assert (first.finish_reason, first.content) == ("tool_calls", "")
        [(name, arguments)] = first.calls
        assert name in {"f", "g"}
        jsonschema.validate(json.loads(arguments), SCHEMA)


async def check_refused(server: Running, mode: Mode) -> None:
    with pytest.raises(BadRequestError) as refused:
        await whole(server, request(mode, "no tools"))
    assert (refused.value.param, refused.value.code) == ("mode", "unsupported_mode")


async def check_matrix(engine: Engine, family: Family) -> None:
    """Serve over a started engine; check all combinations of the modes that the family has, and that the others are refused."""
    profile = profiles.find(None, engine.checkpoint, engine.tokenizer).profile
    has_tools = family.tool_format in tool_formats.names()
    assert not has_tools or profile.tool_format.name == family.tool_format
    async with running(engine, profile) as server:
        refused = server.state.service.renderer.refusals
        assert not family.modes & {*refused}
        served = [mode for mode in Mode if mode not in refused]
        combinations = product(served, CHOICES if has_tools else CHOICES[:1])
        checks = [check(server, *combination) for combination in combinations]
        await asyncio.gather(*checks, *(check_refused(server, mode) for mode in refused))
        await server.idle()


async def on_vllm(family: Family, folder: Path) -> str:
    """Return what the vLLM engine makes of a family: a row of a table."""
    save_checkpoint(family, folder)
    engine = VllmEngine(str(folder), engine_args={"max_model_len": 4096, "max_num_seqs": 16, **family.vllm})
    began = time.monotonic()
    await engine.start()
    seconds = time.monotonic() - began
    try:
        output = await collect(engine, ask(PROMPT, 12))
        greedy = "same" if output.tokens == generated(AutoModelForCausalLM.from_pretrained(folder), PROMPT, 12) else "other"
        await check_matrix(engine, family)
    finally:
        await engine.stop()
    return f"{seconds:.0f} s | {greedy} | passes"


def main() -> None:
    for name in sys.argv[1:]:
        [family] = [family for family in FAMILIES if family.name == name]
        with TemporaryDirectory() as folder:
            try:
                row = asyncio.run(on_vllm(family, Path(folder)))
            except (AutoToolError, AssertionError, OpenAIError) as error:
                row = f"fails: {error}"
        sys.stdout.write(f"| {name} | {family.config.removesuffix('Config')} | {row} |\n")


if __name__ == "__main__":
    main()
