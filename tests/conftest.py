"""What holds for every test."""

import functools
import ssl

import pytest

from autotool_training.patches import malloc


@pytest.fixture(autouse=True)
def _memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Training would keep it for good, and other tests of this process measure how much there is."""
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda: None)


# Every HTTP client reads all certificates of the machine, which takes longer than most requests of the tests.
ssl.create_default_context = functools.lru_cache(ssl.create_default_context)
