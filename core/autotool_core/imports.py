"""Imports of large libraries, and what else makes many objects that stay."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Generator[None]:
    """Collect no garbage inside: what imports make stays, and visiting it again and again takes an eighth of their time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
