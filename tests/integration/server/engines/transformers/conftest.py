"""The engine with a small trained checkpoint, and with a tiny random model."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.tiny import make_llama
from support.transformers_engine import TEXT, nothing_left
from transformers import AutoModelForCausalLM, AutoTokenizer

from autotool_server.engines.transformers import TransformersEngine

CHECKPOINT = Path(__file__).parents[5] / "training" / "checkpoints" / "graded-tiny"


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    """What `engine` serves, the shipped checkpoint of 1.4 million parameters: the default model takes 20 times as long."""
    return CHECKPOINT


@pytest.fixture(scope="module")
async def engine(checkpoint: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(str(checkpoint))
    await engine.start()
    yield engine
    await nothing_left(engine)
    await engine.stop()


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(checkpoint)


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
