"""What holds for every test."""

import asyncio
import functools
import gc
import os
import ssl
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn.server
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from autotool_core.imports import without_collections
from autotool_training.patches import malloc

SERVER_TESTS = Path(__file__).parent / "integration" / "server"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of a file run in one worker. Those that share an engine are one group, or each worker would start its own."""
    item.add_marker(pytest.mark.xdist_group(_shared_engine(item) or item.nodeid.split("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests, and all libraries with them, without collections of garbage: a fifth of the time went into them."""
    with without_collections():
        return (yield)


@pytest.fixture(autouse=True, scope="module")
def _libraries_are_no_garbage() -> None:  # pyright: ignore[reportUnusedFunction]
    """Leave a million objects of libraries out of collections, as the end of each engine and the start of each training is one.

    A server that starts in this process has undone that.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Let the end of the process free the libraries, which tell what was left otherwise."""
    gc.unfreeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long groups first. Without workers the engines come last: vLLM's worker takes most of a core even when idle."""
    has_workers = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: ((_shared_engine(item) is not None) != has_workers, "unit" in item.path.parts))


def _shared_engine(item: pytest.Item) -> str | None:
    """Return what runs behind the session's engine that a test is parametrised with; None if it has no such engine."""
    if SERVER_TESTS not in item.path.parents:
        return None
    if "stock_vllm" in getattr(item, "fixturenames", ()):
        return "vllm"  # the session's remote engine asks the same server
    callspec = getattr(item, "callspec", None)
    if callspec is None or "engine" not in callspec.params:
        return None
    return "transformers" if callspec.params["engine"] == "transformers" else "vllm"


def _share_cores(workers: int) -> None:
    """Leave each worker its part of the cores: threads of two that wait for each other's cores take many times as long."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    _share_cores(int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


@pytest.fixture(autouse=True)
def _memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Training would keep it for good, and other tests of this process measure how much there is."""
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda: None)


@pytest.fixture(autouse=True)
def _gradients_are_synchronised() -> None:  # pyright: ignore[reportUnusedFunction]
    """All trainers of a process share accelerate's state; a run that ended within an accumulation leaves it to later tests."""
    if "accelerate" in sys.modules:
        from accelerate.state import GradientState  # imports torch, which most tests need not

        GradientState()._set_sync_gradients(True)


# A busy machine may take longer than httpx's 5 seconds to accept a connection; what hangs meets pytest's own limit.
for phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, phase, 60.0)

# uvicorn looks ten times a second whether it is to end, and waits as long for its connections then: more than most tests take.
sleep = asyncio.sleep
uvicorn.server.__dict__["asyncio"] = SimpleNamespace(**vars(asyncio) | {"sleep": lambda _: sleep(0.005)})

# Every HTTP client reads all certificates of the machine, which takes longer than most requests of the tests.
ssl.create_default_context = functools.lru_cache(ssl.create_default_context)
