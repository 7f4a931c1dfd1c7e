"""The engine with the default model's base, and with a tiny model."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.tiny import make_llama
from support.transformers_engine import TEXT, nothing_left
from transformers import AutoModelForCausalLM, AutoTokenizer

from autotool_server.engines.transformers import TransformersEngine


@pytest.fixture(scope="module")
async def engine(base_model_dir: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(base_model_dir))
    await engine.start()
    yield engine
    await nothing_left(engine)
    await engine.stop()


@pytest.fixture(scope="module")
def model(base_model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base_model_dir)


@pytest.fixture(scope="module")
def prompt(engine: TransformersEngine) -> list[int]:
    return engine.tokenizer.encode(TEXT * 4)


@pytest.fixture(scope="module")
def tiny_model_dir(base_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the default model's vocabulary, for tests that do not depend on the output."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(base_model_dir)
    make_llama(tokenizer, num_key_value_heads=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
async def tiny(tiny_model_dir: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=2)
    await engine.start()
    yield engine
    await engine.stop()
