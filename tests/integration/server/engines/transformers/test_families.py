"""Every family of models on the transformers engine, as a tiny random model: all that it serves, and what it refuses."""

import asyncio
from pathlib import Path

import pytest
from support.engines import ask, collect
from support.families import FAMILIES, WINDOW, Family, save_checkpoint
from support.family_matrix import PROMPT, check_matrix
from support.transformers_engine import generated
from transformers import AutoModelForCausalLM

from autotool_core.errors import EngineError
from autotool_server.engines.transformers import TransformersEngine, attention


@pytest.mark.parametrize("family", FAMILIES, ids=str)
async def test_matrix(family: Family, tmp_path: Path) -> None:
    # The tokens and calls of a family whose models cannot be batched are served all the same.
    save_checkpoint(family, tmp_path, None if family.batches else "LlamaConfig")
    engine = TransformersEngine(str(tmp_path), max_num_seqs=16)
    await engine.start()
    try:
        await check_matrix(engine, family)
    finally:
        await engine.stop()


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.batches], ids=str)
async def test_greedy_is_generate_in_any_company(family: Family, tmp_path: Path) -> None:
    save_checkpoint(family, tmp_path)
    engine = TransformersEngine(str(tmp_path), max_num_seqs=4)
    await engine.start()
    # A sliding window of the families has 64 tokens.
    prompts = [PROMPT, PROMPT[3:], PROMPT * 2, PROMPT[:5], (PROMPT * 9)[:150]]
    outputs = await asyncio.gather(*(collect(engine, ask(prompt, 12)) for prompt in prompts))
    implementation = engine._parts.model.config.get_text_config()._attn_implementation
    await engine.stop()
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert [output.tokens for output in outputs] == [generated(model, prompt, 12) for prompt in prompts]
    # Windows, and the sinks of GPT-OSS, are left to the library.
    assert (implementation == attention.NAME) is (family.sizes is not WINDOW)


@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.batches], ids=str)
async def test_a_model_that_cannot_be_batched_is_refused_at_the_start(family: Family, tmp_path: Path) -> None:
    save_checkpoint(family, tmp_path)
    engine = TransformersEngine(str(tmp_path), max_num_seqs=1)
    with pytest.raises(EngineError, match=r"transformers cannot batch .* serve it with the vllm engine"):
        await engine.start()
    assert engine.in_flight() == 0
