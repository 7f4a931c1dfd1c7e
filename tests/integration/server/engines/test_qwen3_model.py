"""A randomly initialised small Qwen3 with the real tokenizer, served by the transformers engine in every mode."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
import torch
from support.real_tokenizers import folder, needs
from support.serving import MODEL, Running, running
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from autotool_core.profile import BUILTIN
from autotool_server.engines import profiles
from autotool_server.engines.transformers import TransformersEngine

TOKENIZER = folder("qwen3")
pytestmark = needs("qwen3")

USER: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3")
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=151936,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    engine = TransformersEngine(str(checkpoint))
    await engine.start()
    try:
        async with running(engine, BUILTIN["qwen3"]) as server:
            yield server
    finally:
        await engine.stop()


def test_profile_is_found_from_the_chat_template(checkpoint: Path) -> None:
    found = profiles.find(None, str(checkpoint), AutoTokenizer.from_pretrained(checkpoint)).profile
    assert (found.think, found.tool_format.name) == (BUILTIN["qwen3"].think, "hermes")


@pytest.mark.parametrize(
    ("mode", "bias", "resolved"), [("long", 0, "long"), ("short", 0, "short"), ("auto", 99, "long"), ("auto", -99, "short")]
)
async def test_modes(server: Running, mode: str, bias: int, resolved: str) -> None:
    fields: Any = {"mode": mode, "reasoning_bias": bias, "max_reasoning_tokens": 4}
    completion = await server.client.chat.completions.create(
        model=MODEL, messages=USER, max_completion_tokens=6, seed=1, extra_body=fields
    )
    turn = (completion.model_extra or {})["autotool"]["turns"][0]
    assert turn["resolved"] == resolved
    assert (turn["reasoning_tokens"] > 0) == (resolved == "long")
    assert turn["reasoning_tokens"] <= 4
    assert turn["content_tokens"] <= 6
    assert (turn["p_long"] is not None) == (mode == "auto")


@pytest.mark.parametrize("mode", ["long", "short"])
async def test_grammars(server: Running, mode: str) -> None:
    extra: Any = {"mode": mode, "max_reasoning_tokens": 4}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    completion = await server.client.chat.completions.create(model=MODEL, messages=USER, response_format=form, extra_body=extra)
    jsonschema.validate(json.loads(completion.choices[0].message.content or ""), SCHEMA)
    completion = await server.client.chat.completions.create(
        model=MODEL, messages=USER, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, extra_body=extra
    )
    calls: Any = completion.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather"]
    jsonschema.validate(json.loads(calls[0].function.arguments), SCHEMA)
