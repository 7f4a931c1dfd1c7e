"""What holds for every test."""

import pytest

from autotool_training.patches import malloc


@pytest.fixture(autouse=True)
def _memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Training would keep it for good, and other tests of this process measure how much there is."""
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda: None)
