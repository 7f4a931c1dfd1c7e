"""What keys have used, and what their requests in flight may still use.

Several servers may share the database. Each writes what its own requests have reserved, with a lease: once the lease has ended,
so has the server, and its reservations with it. A row for each key is locked meanwhile, so that two servers cannot both give
away the rest of a budget. Statements are made once and take the rows of all keys at a time, since making them costs more than
running them.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from autotool_core.errors import AutoToolError
from autotool_server.state_store import database
from autotool_server.state_store.use import Use, UseByMode
from autotool_server.state_store.windows import MINUTE, Limits, Spent, Verdict, Window, day_of, decide

LEASE_SECONDS = 60
"""How long reservations count after their server has last written them."""
KEPT_DAYS = 400

METADATA = MetaData()
KEYS = Table("autotool_keys", METADATA, Column("name", String(64), primary_key=True), Column("changes", BigInteger))
USE = Table(
    "autotool_key_use",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("mode", String(8), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
)
MINUTES = Table(
    "autotool_key_minutes",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("minute", Integer, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
)
RESERVED = Table(
    "autotool_key_reservations",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("server", String(32), primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
)
_TOKENS = USE.c.prompt_tokens + USE.c.completion_tokens

_KEYS = bindparam("keys", expanding=True)
SELECT_USE = (
    select(USE.c.key, func.sum(case((USE.c.day == bindparam("today"), _TOKENS), else_=0)), func.sum(_TOKENS))
    .where(USE.c.key.in_(_KEYS), USE.c.day.between(bindparam("first"), bindparam("today")))
    .group_by(USE.c.key)
)
SELECT_MINUTES = select(MINUTES.c.key, MINUTES.c.minute, MINUTES.c.requests, MINUTES.c.tokens).where(
    MINUTES.c.key.in_(_KEYS), MINUTES.c.minute >= bindparam("first")
)
SELECT_RESERVED = (
    select(RESERVED.c.key, func.sum(RESERVED.c.tokens))
    .where(RESERVED.c.key.in_(_KEYS), RESERVED.c.server != bindparam("server"), RESERVED.c.ends_at > bindparam("now"))
    .group_by(RESERVED.c.key)
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a server has to write and to ask about one key."""

    key: str
    limits: Limits = field(default_factory=Limits)
    reserved: int = 0
    """Tokens that the server's requests in flight may still use, without those of `asked`."""
    used: Mapping[tuple[str, str], Use] = field(default_factory=dict[tuple[str, str], Use])
    """What ended requests have used, by day and mode."""
    asked: Sequence[int] = ()
    """Tokens that each of the requests may use that ask to be let in."""
    further: Sequence[int] = ()
    """Tokens that each of the further turns may use which requests ask for that are in; their verdicts come first."""
    withdrawn: Mapping[int, int] = field(default_factory=dict[int, int])
    """Requests that were let in and then refused elsewhere, by the minute that they were counted in (`Verdict.minute`)."""


class SpendStore:
    """The store of an address; of the process's memory without one. Raises AutoToolError for an address that is none."""

    def __init__(self, url: str | None) -> None:
        self._engine = database.in_memory() if url is None else database.make_engine(url, "spend_store")
        if self._engine.dialect.name not in ("sqlite", "postgresql"):
            raise AutoToolError("Setting spend_store (--spend-store): give the address of an SQLite or PostgreSQL database.")
        self._server = uuid.uuid4().hex
        self._is_prepared = False
        self._minute = 0
        self._add_keys = self._upsert(KEYS, adds=True)
        self._add_use = self._upsert(USE, adds=True)
        self._add_minutes = self._upsert(MINUTES, adds=True)
        self._set_reserved = self._upsert(RESERVED, adds=False)
        database.do_not_wait_for_disk(self._engine)

    def prepare(self) -> None:
        """Make the tables, once. Raises SQLAlchemyError, and AutoToolError for a database of a later version."""
        if not self._is_prepared:
            database.prepare(self._engine, METADATA, "spend")
            oldest = _date(time.time() - KEPT_DAYS * 24 * 3600)
            with self._engine.begin() as connection:
                connection.execute(delete(USE).where(USE.c.day < oldest))
            self._is_prepared = True

    def change(self, changes: Sequence[Change], now: float) -> list[list[Verdict]]:
        """Write changes, all of them or none, and return a verdict for each request of each. `now`: Unix time."""
        self.prepare()
        with self._engine.begin() as connection:
            # Always in the same order, so that two servers do not wait for each other.
            connection.execute(self._add_keys, [{"name": name, "changes": 1} for name in sorted(c.key for c in changes)])
            if rows := [_use_row(change.key, *place, use) for change in changes for place, use in change.used.items()]:
                connection.execute(self._add_use, rows)
            limited = [change for change in changes if change.limits != Limits()]
            spent = self._spent(connection, [change for change in limited if change.asked or change.further], now)
            verdicts = [_decide(change, spent.get(change.key), now) for change in changes]
            if limited:
                by_key = {change.key: found for change, found in zip(changes, verdicts, strict=True)}
                self._write(connection, limited, by_key, now)
        return verdicts

    def use(self, key: str, now: float) -> tuple[UseByMode, UseByMode]:
        """Return what a key has used today and this month, by mode."""
        self.prepare()
        sums = [func.sum(USE.c[name]) for name in ("requests", "prompt_tokens", "completion_tokens")]
        with self._engine.begin() as connection:

            def since(day: str) -> UseByMode:
                query = select(USE.c.mode, *sums).where(USE.c.key == key, USE.c.day.between(day, _date(now)))
                return {row[0]: Use(*map(int, row[1:])) for row in connection.execute(query.group_by(USE.c.mode))}

            return since(_date(now)), since(_month(now))

    def close(self) -> None:
        """Give back what is reserved, and close the connections."""
        try:
            if self._is_prepared:
                with self._engine.begin() as connection:
                    connection.execute(delete(RESERVED).where(RESERVED.c.server == self._server))
        finally:
            self._engine.dispose()

    def _upsert(self, table: Table, *, adds: bool) -> Any:
        """Return the statement that writes rows: it adds to the numbers of those that there are, or takes their place."""
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement = insert(table)
        numbers = [column.name for column in table.c if not column.primary_key]
        values = {name: table.c[name] + statement.excluded[name] if adds else statement.excluded[name] for name in numbers}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)

    def _spent(self, connection: Connection, asking: Sequence[Change], now: float) -> dict[str, Spent]:
        """Return what is spent by those who ask, with what these changes say."""
        if not asking:
            return {}
        keys, minute = [change.key for change in asking], int(now // MINUTE)
        days: dict[str, tuple[int, int]] = {}
        if any({"day", "month"} & change.limits.tokens.keys() for change in asking):
            found = connection.execute(SELECT_USE, {"keys": keys, "today": _date(now), "first": _month(now)})
            days = {row[0]: (int(row[1]), int(row[2])) for row in found}
        rows = connection.execute(SELECT_MINUTES, {"keys": keys, "first": minute - 1})
        minutes = {(row[0], row[1]): (int(row[2]), int(row[3])) for row in rows}
        rows = connection.execute(SELECT_RESERVED, {"keys": keys, "server": self._server, "now": int(now)})
        elsewhere = {row[0]: int(row[1]) for row in rows}
        return {
            change.key: Spent(
                *_windows(minutes, change, minute),
                *days.get(change.key, (0, 0)),
                change.reserved + elsewhere.get(change.key, 0),
            )
            for change in asking
        }

    def _write(
        self, connection: Connection, limited: Sequence[Change], verdicts: Mapping[str, list[Verdict]], now: float
    ) -> None:
        """Write the minute and the reservations of keys that have limits."""
        minute, ends_at = int(now // MINUTE), int(now) + LEASE_SECONDS
        minutes, reserved = list[dict[str, Any]](), list[dict[str, Any]]()
        for change in limited:
            found = verdicts[change.key]
            admitted = sum(verdict.refused_by is None for verdict in found[len(change.further) :])
            minutes += _minute_rows(change, admitted, minute)
            answers = zip((*change.further, *change.asked), found, strict=True)
            tokens = change.reserved + sum(tokens for tokens, verdict in answers if verdict.refused_by is None)
            reserved.append({"key": change.key, "server": self._server, "tokens": tokens, "ends_at": ends_at})
        connection.execute(self._add_minutes, minutes)
        connection.execute(self._set_reserved, reserved)
        if minute != self._minute:
            self._minute = minute
            connection.execute(delete(MINUTES).where(MINUTES.c.minute < minute - 1))
            connection.execute(delete(RESERVED).where(RESERVED.c.ends_at < int(now) - LEASE_SECONDS))


def read_use(url: str, now: float) -> Mapping[str, Mapping[str, UseByMode]]:
    """Return what all keys have used, by period, key and mode. The periods are today's date and its month. `now`: Unix time.

    Nothing is written, and no file is made. Raises AutoToolError for an address that is none, and for a database that cannot be
    read or that no server has used.
    """
    engine = database.make_engine(url, "spend_store")
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        raise AutoToolError(f"There is no spend store at {engine.url.database}.")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(USE.name):
                raise AutoToolError("This database is no spend store: no server with --spend-store has used it.")
            today = _date(now)
            return {today: _use_since(connection, today, today), today[:7]: _use_since(connection, _month(now), today)}
    except SQLAlchemyError as error:
        # The driver's message may hold the address, and so the password.
        raise AutoToolError(f"The spend store cannot be read ({type(error).__name__}).") from None
    finally:
        engine.dispose()


def _use_since(connection: Connection, first: str, last: str) -> Mapping[str, UseByMode]:
    """Return what all keys have used from one day to another, by key and mode."""
    sums = [func.sum(USE.c[name]) for name in ("requests", "prompt_tokens", "completion_tokens")]
    query = select(USE.c.key, USE.c.mode, *sums).where(USE.c.day.between(first, last)).group_by(USE.c.key, USE.c.mode)
    rows: Sequence[Any] = connection.execute(query).all()
    used: dict[str, dict[str, Use]] = {}
    for key, mode, *numbers in rows:
        used.setdefault(key, {})[mode] = Use(*map(int, numbers))
    return used


def _decide(change: Change, spent: Spent | None, now: float) -> list[Verdict]:
    verdicts, spent = list[Verdict](), spent or Spent()
    for tokens in change.further:
        verdict, spent = decide(change.limits.budgets, spent, tokens, now, requests=0)
        verdicts.append(verdict)
    for tokens in change.asked:
        verdict, spent = decide(change.limits, spent, tokens, now)
        verdicts.append(verdict)
    return verdicts


def _windows(minutes: Mapping[tuple[str, int], tuple[int, int]], change: Change, minute: int) -> tuple[Window, Window]:
    """Return the windows of requests and tokens."""
    current, previous = (minutes.get((change.key, number), (0, 0)) for number in (minute, minute - 1))
    requests = Window(_counted(current[0], change, minute), _counted(previous[0], change, minute - 1))
    return requests, Window(current[1] + _used(change), previous[1])


def _counted(requests: int, change: Change, minute: int) -> int:
    """Return the requests of a minute without those withdrawn. These may have been counted in a store that was lost."""
    return max(requests - change.withdrawn.get(minute, 0), 0)


def _minute_rows(change: Change, admitted: int, minute: int) -> list[dict[str, Any]]:
    """Return what is added to the minutes of a key: this one and the one before, since no others count any more."""
    requests = admitted - change.withdrawn.get(minute, 0)
    rows = [{"key": change.key, "minute": minute, "requests": requests, "tokens": _used(change)}]
    if earlier := change.withdrawn.get(minute - 1):
        rows.append({"key": change.key, "minute": minute - 1, "requests": -earlier, "tokens": 0})
    return rows


def _used(change: Change) -> int:
    return sum(use.tokens for use in change.used.values())


def _use_row(key: str, day: str, mode: str, use: Use) -> dict[str, Any]:
    numbers = {name: getattr(use, name) for name in ("requests", "prompt_tokens", "completion_tokens")}
    return {"key": key, "day": day, "mode": mode, **numbers}


def _date(now: float) -> str:
    return day_of(now).date().isoformat()


def _month(now: float) -> str:
    return day_of(now).date().replace(day=1).isoformat()
