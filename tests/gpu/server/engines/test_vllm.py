"""The conformance suite of the engines with vLLM on a GPU, with vLLM's defaults there except for the type of the weights.

pytest tests/gpu
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from integration.server.engines.test_engines import *  # noqa: F403 all its tests and fixtures, with another engine

from autotool_server import default_model
from autotool_server.engines.vllm import VllmEngine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda is not available")


@pytest.fixture(scope="session")
def base_model_dir() -> Path:
    return default_model.ensure(trained=False)


@pytest.fixture(scope="session")
async def engine(base_model_dir: Path) -> AsyncIterator[VllmEngine]:
    # float32, because the suite compares with plain transformers token for token.
    arguments = {"dtype": "float32", "max_model_len": 4096, "max_num_seqs": 4, "gpu_memory_utilization": 0.3}
    engine = VllmEngine(str(base_model_dir), engine_args=arguments)
    await engine.start()
    yield engine
    await engine.stop()
