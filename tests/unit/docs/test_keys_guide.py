"""The examples of the guide to keys: its file is valid, and the commands print what it shows."""

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from support.examples import Block, blocks

from autotool_core.api_keys import hash_of
from autotool_server.api.keys import tables
from autotool_server.state_store.spend import Change, SpendStore
from autotool_server.state_store.use import Use

PAGE = Path(__file__).parents[3] / "docs/guides/keys.md"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


def shown_after(text: str) -> str:
    """Return what the page shows below the command that has the text."""
    found = blocks(PAGE)
    return next(below.text for block, below in pairwise(found) if text in block.text)


@pytest.fixture
def keys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the page, in the working folder, with a hash in place of the one that is left out."""
    block: Block = next(block for block in blocks(PAGE) if block.language == "toml")
    assert block.text.count("…") == 1
    (tmp_path / "keys.toml").write_text(block.text.replace("…", hash_of("another")))
    monkeypatch.chdir(tmp_path)
    return Path("keys.toml")


def test_check_prints_what_is_shown(keys_file: Path) -> None:
    shown = re.sub(r"\n +", " ", shown_after("autotool keys check keys.toml"))
    assert "".join(f"{line}\n" for line in tables.lines_of_keys(keys_file)) == shown


def test_usage_prints_what_is_shown(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.time, "time", lambda: NOW)
    store = SpendStore("sqlite:///spend.db")
    used = {("2026-11-29", "auto"): Use(1, 35, 14), ("2026-11-29", "plain"): Use(1, 35, 17)}
    store.change([Change("alice", used=used)], NOW)
    store.close()
    assert f"{tables.table_of_use('sqlite:///spend.db', keys_file)}\n" == shown_after("autotool keys usage")
