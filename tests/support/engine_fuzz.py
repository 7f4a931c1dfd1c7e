"""`grammar_fuzz` on a real engine: does a tiny random model, held to random schemas, answer with values of them?

From the root: `PYTHONPATH=core:server:tests python -m support.engine_fuzz transformers --schemas 100` (or `vllm`).
"""

import argparse
import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import Phase, given, seed, settings

from autotool_core.errors import InvalidRequestError
from autotool_server.engines.base import Engine, Sampling
from autotool_server.engines.transformers import TransformersEngine
from autotool_server.engines.vllm import VllmEngine
from autotool_server.tools.schema_check import error_path
from support.engines import Output, ask, collect
from support.grammar_fuzz import content_grammar, faults
from support.random_schemas import SCHEMAS, UNCHECKED
from support.tiny import make_llama, make_tokenizer

MAX_TOKENS = 300
SIDE_BY_SIDE = 16
TEXTS_OF_ONE = 2


def accepted_schemas(count: int, start: int) -> list[tuple[Any, str]]:
    """Return random schemas that are held, and their grammars."""
    found: dict[str, tuple[Any, str]] = {}

    @seed(start)
    @settings(max_examples=4 * count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=UNCHECKED)
    @given(SCHEMAS)
    def run(schema: Any) -> None:
        if len(found) < count and error_path(schema) is None:
            try:
                found[json.dumps(schema, sort_keys=True)] = schema, content_grammar(schema)
            except InvalidRequestError:
                return

    run()
    return [*found.values()]


async def answers(engine: Engine, schemas: list[tuple[Any, str]]) -> Counter[str]:
    """Count the answers of each kind."""
    # Most of a random model's texts would be cut by the limit, so that what closes a value is made more likely.
    bias = {engine.tokenizer.encode(char, add_special_tokens=False)[0]: 4.0 for char in '"}]'}
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(tag: str, number: int) -> Output:
        sampling = Sampling(temperature=1.0, seed=number, logit_bias=bias)
        async with room:
            return await collect(engine, ask(prompt, MAX_TOKENS, sampling, structural_tag=tag))

    prompt = engine.tokenizer.encode("A value:", add_special_tokens=False)
    asked = [(schema, one(tag, number)) for schema, tag in schemas for number in range(TEXTS_OF_ONE)]
    outputs = await asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)
    return Counter(kind for (schema, _), output in zip(asked, outputs, strict=True) for kind in _kinds(engine, schema, output))


def _kinds(engine: Engine, schema: Any, output: Output | BaseException) -> Iterator[str]:
    if isinstance(output, BaseException):
        yield f"errors: {type(output).__name__} {str(output)[:100]} {json.dumps(schema)[:200]}"
    elif output.finish_reason != "stop":
        yield "cut by the limit"
    else:
        yield "outputs"
        text = engine.tokenizer.decode(output.tokens, skip_special_tokens=True)
        yield from (f"failures: {fault} {text[:80]!r} {json.dumps(schema)[:200]}" for fault in faults(schema, text))


async def _run(name: str, schemas: list[tuple[Any, str]]) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = make_tokenizer()
        make_llama(tokenizer, hidden_size=128, intermediate_size=128).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        engine: Engine = VllmEngine(folder) if name == "vllm" else TransformersEngine(folder)
        await engine.start()
        try:
            return await answers(engine, schemas)
        finally:
            await engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["transformers", "vllm"])
    parser.add_argument("--schemas", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    schemas = accepted_schemas(options.schemas, options.seed)
    print({"schemas": len(schemas), **asyncio.run(_run(options.engine, schemas))})  # noqa: T201


if __name__ == "__main__":
    main()
