"""What keys have used, in real databases: SQLite here, PostgreSQL in tests/integration."""

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.state_store import spend
from autotool_server.state_store.spend import Change, SpendStore
from autotool_server.state_store.use import Use
from autotool_server.state_store.windows import Limits

NOW = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC).timestamp()
DAY = Limits(tokens={"day": 100})


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'spend.db'}"


def used(day: str, mode: str, requests: int, prompt: int, completion: int) -> dict[tuple[str, str], Use]:
    return {(day, mode): Use(requests, prompt, completion)}


@pytest.mark.parametrize("in_memory", [True, False])
def test_use_is_added_up_by_day_month_and_mode(tmp_path: Path, in_memory: bool) -> None:
    store = SpendStore(None if in_memory else url(tmp_path))
    for day, mode in (("2026-11-29", "auto"), ("2026-11-29", "auto"), ("2026-11-01", "short"), ("2026-10-31", "long")):
        store.change([Change("a", used=used(day, mode, 1, 2, 3)), Change("b", used=used(day, mode, 9, 9, 9))], NOW)
    today, month = store.use("a", NOW)
    assert today == {"auto": Use(2, 4, 6)}
    assert month == {"auto": Use(2, 4, 6), "short": Use(1, 2, 3)}
    assert store.use("nobody", NOW) == ({}, {})
    store.close()


def test_what_was_used_is_known_after_a_restart(tmp_path: Path) -> None:
    first = SpendStore(url(tmp_path))
    first.change([Change("a", DAY, used=used("2026-11-29", "auto", 1, 40, 50))], NOW)
    first.close()
    verdicts = SpendStore(url(tmp_path)).change([Change("a", DAY, asked=[11, 10, 1])], NOW)[0]
    assert [verdict.refused_by for verdict in verdicts] == ["tokens_per_day", None, "tokens_per_day"]


def test_two_servers_share_a_budget_and_each_gives_back_what_its_requests_did_not_use(tmp_path: Path) -> None:
    one, other = SpendStore(url(tmp_path)), SpendStore(url(tmp_path))
    assert one.change([Change("a", DAY, asked=[60])], NOW)[0][0].refused_by is None
    refused = other.change([Change("a", DAY, asked=[60])], NOW)[0][0]
    assert (refused.refused_by, refused.wait) == ("tokens_per_day", 5)
    assert other.change([Change("a", DAY, asked=[40])], NOW)[0][0].refused_by is None
    # The first has used 10 of its 60.
    one.change([Change("a", DAY, reserved=0, used=used("2026-11-29", "auto", 1, 5, 5))], NOW)
    assert other.change([Change("a", DAY, reserved=40, asked=[51, 50])], NOW)[0][0].refused_by == "tokens_per_day"
    assert one.change([Change("a", DAY, asked=[1])], NOW)[0][0].refused_by == "tokens_per_day"


@pytest.mark.parametrize("ends", ["closed", "killed"])
def test_reservations_end_with_their_server(tmp_path: Path, ends: str) -> None:
    gone, left = SpendStore(url(tmp_path)), SpendStore(url(tmp_path))
    gone.change([Change("a", DAY, asked=[100])], NOW)
    assert left.change([Change("a", DAY, asked=[100])], NOW)[0][0].refused_by == "tokens_per_day"
    if ends == "closed":
        gone.close()
    later = NOW if ends == "closed" else NOW + spend.LEASE_SECONDS
    assert left.change([Change("a", DAY, asked=[100])], later)[0][0].refused_by is None


def test_servers_share_the_requests_of_a_minute(tmp_path: Path) -> None:
    limits = Limits(2)
    one, other = SpendStore(url(tmp_path)), SpendStore(url(tmp_path))
    assert one.change([Change("a", limits, asked=[1])], NOW)[0][0].refused_by is None
    verdicts = other.change([Change("a", limits, asked=[1, 1])], NOW)[0]
    assert [verdict.refused_by for verdict in verdicts] == [None, "requests_per_minute"]
    assert one.change([Change("a", limits, asked=[1])], NOW + 90)[0][0].refused_by is None


@pytest.mark.parametrize("later", [1, 45], ids=["in the minute", "in the next"])
def test_a_request_that_is_withdrawn_is_not_counted_any_more(tmp_path: Path, later: float) -> None:
    one, other = SpendStore(url(tmp_path)), SpendStore(url(tmp_path))
    minute = one.change([Change("a", Limits(1), asked=[1])], NOW)[0][0].minute
    assert other.change([Change("a", Limits(1), asked=[1])], NOW + later)[0][0].refused_by == "requests_per_minute"
    # Those that are asked for in the same change are the first to have its place.
    verdicts = one.change([Change("a", Limits(1), asked=[1, 1], withdrawn={minute: 1})], NOW + later)[0]
    assert [verdict.refused_by for verdict in verdicts] == [None, "requests_per_minute"]
    again = {verdicts[0].minute: 1}
    one.change([Change("a", Limits(1), withdrawn=again)], NOW + later)
    assert other.change([Change("a", Limits(1), asked=[1])], NOW + later)[0][0].refused_by is None


def test_what_was_counted_in_a_store_that_was_lost_makes_no_room_in_another(tmp_path: Path) -> None:
    store = SpendStore(url(tmp_path))
    change = Change("a", Limits(1), asked=[1, 1], withdrawn={int(NOW // 60): 5, int(NOW // 60) - 1: 5, 7: 5})
    assert [verdict.refused_by for verdict in store.change([change], NOW)[0]] == [None, "requests_per_minute"]


def test_a_further_turn_counts_for_the_budget_alone(tmp_path: Path) -> None:
    store = SpendStore(url(tmp_path))
    limits = Limits(1, {"minute": 50, "day": 100})
    change = Change("a", limits, asked=[10, 10], further=[60, 41])
    assert [verdict.refused_by for verdict in store.change([change], NOW)[0]] == [
        None,
        "tokens_per_day",
        "tokens_per_minute",
        "tokens_per_minute",
    ]
    later = store.change([Change("a", limits, reserved=60, asked=[1], further=[41, 40])], NOW)[0]
    assert [verdict.refused_by for verdict in later] == ["tokens_per_day", None, "tokens_per_minute"]


def test_old_rows_are_deleted(tmp_path: Path) -> None:
    now = time.time()
    store = SpendStore(url(tmp_path))
    for minute in range(5):
        store.change([Change("a", Limits(9), used=used("2020-01-01", "auto", 1, 1, 1), asked=[1])], now + 60 * minute)
    store.close()
    SpendStore(url(tmp_path)).use("a", now)
    with sqlite3.connect(tmp_path / "spend.db") as database:
        assert database.execute("SELECT count(*) FROM autotool_key_use").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM autotool_key_minutes").fetchone() == (2,)


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    SpendStore(url(tmp_path)).use("a", NOW)
    with sqlite3.connect(tmp_path / "spend.db") as database:
        database.execute("UPDATE autotool_tables_version SET version = 99")
    with pytest.raises(AutoToolError, match="later version"):
        SpendStore(url(tmp_path)).use("a", NOW)


@pytest.mark.parametrize(("text", "word"), [("nonsense", "address"), ("sqlite://", "file"), ("nodb://x/y", "driver")])
def test_a_bad_address_is_refused_before_anything_is_connected(text: str, word: str) -> None:
    with pytest.raises(AutoToolError, match=f"--spend-store.*{word}"):
        SpendStore(text)
