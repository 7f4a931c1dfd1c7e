"""What holds for every test."""

import functools
import os
import ssl
import sys
from pathlib import Path

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from autotool_training.patches import malloc

SERVER_TESTS = Path(__file__).parent / "integration" / "server"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of a file run in one worker. Those that share an engine are one group, or each worker would start its own."""
    item.add_marker(pytest.mark.xdist_group(_shared_engine(item) or item.nodeid.split("::")[0]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long groups first. Without workers the engines come last: vLLM's worker takes most of a core even when idle."""
    has_workers = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: ((_shared_engine(item) is not None) != has_workers, "unit" in item.path.parts))


def _shared_engine(item: pytest.Item) -> str | None:
    """Return what runs behind the session's engine that a test is parametrised with; None if it has no such engine."""
    callspec = getattr(item, "callspec", None)
    if SERVER_TESTS not in item.path.parents or callspec is None or "engine" not in callspec.params:
        return None
    return "transformers" if callspec.params["engine"] == "transformers" else "vllm"  # the remote engine is vLLM's own server


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

# Every HTTP client reads all certificates of the machine, which takes longer than most requests of the tests.
ssl.create_default_context = functools.lru_cache(ssl.create_default_context)
