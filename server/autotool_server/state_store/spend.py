"""What keys have used, and what their requests in flight may still use.

Several servers may share the database. Each writes what its own requests have reserved, with a lease: once the lease has ended,
so has the server, and its reservations with it. A row for each key is locked meanwhile, so that two servers cannot both give
away the rest of a budget.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

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


class SpendStore:
    """The store of an address; of the process's memory without one."""

    def __init__(self, url: str | None) -> None:
        self._engine = database.in_memory() if url is None else database.make_engine(url, "spend_store")
        self._server = uuid.uuid4().hex
        self._is_prepared = False
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
        try:
            verdicts = self._transact(changes, now)
        except IntegrityError:
            # Another server has written the first row of the same key meanwhile.
            verdicts = self._transact(changes, now)
        return [verdicts[change.key] for change in changes]

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

    def _transact(self, changes: Sequence[Change], now: float) -> dict[str, list[Verdict]]:
        with self._engine.begin() as connection:
            # Always in the same order, so that two servers do not wait for each other.
            return {change.key: self._change(connection, change, now) for change in sorted(changes, key=lambda c: c.key)}

    def _change(self, connection: Connection, change: Change, now: float) -> list[Verdict]:
        _add(connection, KEYS, {"name": change.key}, {"changes": 1})  # locks the row
        for (day, mode), use in change.used.items():
            numbers = {name: getattr(use, name) for name in ("requests", "prompt_tokens", "completion_tokens")}
            _add(connection, USE, {"key": change.key, "day": day, "mode": mode}, numbers)
        spent_now = sum(use.tokens for use in change.used.values())
        spent = self._spent(connection, change, spent_now, now) if change.asked else Spent(reserved=change.reserved)
        own, admitted, verdicts = change.reserved, 0, list[Verdict]()
        for tokens in change.asked:
            verdict, spent = decide(change.limits, spent, tokens, now)
            verdicts.append(verdict)
            own += 0 if verdict.refused_by else tokens
            admitted += not verdict.refused_by
        if change.limits != Limits():
            self._write_minute(connection, change.key, admitted, spent_now, now)
            self._write_reserved(connection, change.key, own, now)
        return verdicts

    def _spent(self, connection: Connection, change: Change, spent_now: int, now: float) -> Spent:
        day, month = 0, 0
        if "day" in change.limits.tokens or "month" in change.limits.tokens:
            of_day = func.sum(case((USE.c.day == _date(now), _TOKENS), else_=0))
            query = select(of_day, func.sum(_TOKENS)).where(USE.c.key == change.key, USE.c.day.between(_month(now), _date(now)))
            day, month = (int(number or 0) for number in connection.execute(query).one())
        number = int(now // MINUTE)
        query = select(MINUTES.c.minute, MINUTES.c.requests, MINUTES.c.tokens).where(
            MINUTES.c.key == change.key, MINUTES.c.minute.in_((number, number - 1))
        )
        rows = {row.minute: row for row in connection.execute(query)}
        current, previous = (tuple(rows[n])[1:] if n in rows else (0, 0) for n in (number, number - 1))
        requests, tokens = Window(current[0], previous[0]), Window(current[1] + spent_now, previous[1])
        return Spent(requests, tokens, day, month, change.reserved + self._reserved_elsewhere(connection, change.key, now))

    def _reserved_elsewhere(self, connection: Connection, key: str, now: float) -> int:
        is_held = (RESERVED.c.key == key) & (RESERVED.c.server != self._server) & (RESERVED.c.ends_at > int(now))
        return int(connection.scalar(select(func.sum(RESERVED.c.tokens)).where(is_held)) or 0)

    def _write_minute(self, connection: Connection, key: str, requests: int, tokens: int, now: float) -> None:
        if requests or tokens:
            minute = int(now // MINUTE)
            added = _add(connection, MINUTES, {"key": key, "minute": minute}, {"requests": requests, "tokens": tokens})
            if added:
                connection.execute(delete(MINUTES).where(MINUTES.c.key == key, MINUTES.c.minute < minute - 1))

    def _write_reserved(self, connection: Connection, key: str, tokens: int, now: float) -> None:
        row = {"tokens": tokens, "ends_at": int(now) + LEASE_SECONDS}
        where = (RESERVED.c.key == key) & (RESERVED.c.server == self._server)
        if not connection.execute(update(RESERVED).where(where).values(row)).rowcount:
            connection.execute(delete(RESERVED).where(RESERVED.c.key == key, RESERVED.c.ends_at <= int(now)))
            connection.execute(insert(RESERVED).values(key=key, server=self._server, **row))


def _add(connection: Connection, table: Table, where: Mapping[str, Any], numbers: Mapping[str, int]) -> bool:
    """Add numbers to those of a row. Return whether the row is a new one."""
    condition = [table.c[name] == value for name, value in where.items()]
    values = {name: table.c[name] + number for name, number in numbers.items()}
    if connection.execute(update(table).where(*condition).values(values)).rowcount:
        return False
    connection.execute(insert(table).values(**where, **numbers))
    return True


def _date(now: float) -> str:
    return day_of(now).date().isoformat()


def _month(now: float) -> str:
    return day_of(now).date().replace(day=1).isoformat()
