"""The remote engine with a server on a real port; `test_engines.py` tests it with a working one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.remote import Fleet, serving
from support.tiny import make_tokenizer

from autotool_server.engines.remote import RemoteEngine


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def fleet(tokenizer_dir: Path) -> Fleet:
    return Fleet(tokenizer_dir)


@pytest.fixture
async def port(fleet: Fleet) -> AsyncIterator[int]:
    async with serving(fleet) as port:
        yield port


@pytest.fixture
async def engine(port: int) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(f"http://127.0.0.1:{port}")
    await engine.start()
    yield engine
    assert engine.in_flight() == 0
    await engine.stop()
