"""`autotool keys`: what `new` prints lets the key in, `check` finds the server's mistakes, `usage` shows what the store has."""

import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.keys import write_keys
from typer.testing import CliRunner

from autotool_cli.keys import app
from autotool_core.errors import AutoToolError
from autotool_server.api.keys.file import Key
from autotool_server.api.keys.keyring import Keyring
from autotool_server.state_store.spend import Change, SpendStore
from autotool_server.state_store.use import Use

WHOLE: dict[str, Any] = {
    "models": ["Qwen/Qwen3-8B"],
    "modes": ["short", "auto"],
    "tools": [],
    "priority": 10,
    "target": "tokens=200",
    "concurrent_requests": 2,
    "requests_per_minute": 60,
    "tokens_per_minute": 4000,
    "tokens_per_day": 20000,
    "tokens_per_month": 300000,
}


def test_a_new_key_and_the_lines_that_let_it_in(tmp_path: Path) -> None:
    printed = [CliRunner().invoke(app, ["new", "a.b"]).stdout for _ in range(2)]
    key = next(line for line in printed[0].splitlines() if line.startswith("at-"))
    lines = printed[0][printed[0].index("[keys") :]
    assert list(tomllib.loads(lines)["keys"]) == ["a.b"]
    path = tmp_path / "keys.toml"
    path.write_text(lines)
    found = Keyring(path, has_store=False).find(key)
    assert found is not None
    assert found.name == "a.b"
    assert key not in printed[1]


def test_a_name_that_the_file_does_not_take_is_refused() -> None:
    for name in ("a b", "", "-", 'x"]', "x" * 65):
        assert isinstance(CliRunner().invoke(app, ["new", "--", name]).exception, AutoToolError)


def printed(*arguments: str) -> list[str]:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout.splitlines()


def test_check_has_a_line_for_each_key_with_all_that_it_may_use(tmp_path: Path) -> None:
    assert WHOLE.keys() == Key.model_fields.keys() - {"name", "hash"}
    path = write_keys(tmp_path, alice={}, nightly=WHOLE)
    assert printed("check", path) == [
        "alice models=any modes=any tools=any priority=0",
        "nightly models=Qwen/Qwen3-8B modes=auto,short tools=none priority=10 target=tokens=200 concurrent_requests=2 "
        "requests_per_minute=60 tokens_per_minute=4000 tokens_per_day=20000 tokens_per_month=300000",
        f"{path} is valid: 2 keys. The server needs --spend-store, for the budgets of nightly.",
    ]
    path = write_keys(tmp_path, alice={})
    assert printed("check", path)[-1] == f"{path} is valid: 1 key."


def test_check_names_the_key_and_the_field_of_a_mistake(tmp_path: Path) -> None:
    path = write_keys(tmp_path, alice={"requests_per_minute": 0})
    with pytest.raises(AutoToolError, match=rf"^The keys file {path}: keys\.alice\.requests_per_minute: "):
        printed("check", path)


def test_usage_has_what_every_key_has_used_by_period_and_mode(tmp_path: Path) -> None:
    url, now = f"sqlite:///{tmp_path / 'spend.db'}", time.time()
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    store = SpendStore(url)
    store.change([Change("alice", used={(today, "auto"): Use(1, 1200, 14), (today, "short"): Use(2, 5, 6)})], now)
    store.change([Change("gone", used={("2020-01-01", "auto"): Use(9, 9, 9)})], now)
    store.close()
    path = write_keys(tmp_path, alice={"tokens_per_day": 20_000}, nightly={"tokens_per_month": 300_000})
    used = [["auto", "1", "1,200", "14", "1,214"], ["short", "2", "5", "6", "11"], ["all", "3", "1,205", "20", "1,225"]]
    unused = ["all", "0", "0", "0", "0"]
    alice = [["alice", period, *row] for period in (today, today[:7]) for row in used]
    assert [line.split() for line in printed("usage", "--spend-store", url)[1:]] == alice
    head, *rows = printed("usage", "--spend-store", url, "--keys", path)
    assert head.split() == ["key", "period", "mode", "requests", "prompt", "completion", "total", "limit"]
    alice[2].append("20,000")
    nightly = [["nightly", today, *unused], ["nightly", today[:7], *unused, "300,000"]]
    assert [row.split() for row in rows] == [*alice, *nightly]
    assert len({len(row) for row in rows if row.endswith("000")} | {len(head)}) == 1, "the columns are aligned"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///{folder}/none.db", r"There is no spend store at .*/none\.db"),
        ("sqlite:///{folder}/other.db", "This database is no spend store"),
        ("sqlite:///{folder}/text.db", r"The spend store cannot be read \(DatabaseError\)"),
        ("nonsense", r"--spend-store.*address"),
    ],
)
def test_usage_of_what_is_no_store_is_an_error_and_makes_none(tmp_path: Path, address: str, words: str) -> None:
    (tmp_path / "other.db").touch()
    (tmp_path / "text.db").write_text("This is no database at all." * 99)
    with pytest.raises(AutoToolError, match=words):
        printed("usage", "--spend-store", address.format(folder=tmp_path))
    assert not (tmp_path / "none.db").exists()
