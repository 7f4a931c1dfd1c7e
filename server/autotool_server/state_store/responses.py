"""The store of responses.

A response is one row, every item of its input and output is another. Rows that have
expired are deleted at writes. A response that runs has a lease, which its server renews: once the lease has ended, so has the
server, and the response has failed.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server.state_store import database

PREVIOUS = "previous_response_id"
RUNNING = ("queued", "in_progress")
CHAINED = ("completed", "incomplete")
"""States of a response that another one may follow."""
LEASE_SECONDS = 60
"""How long a response counts as running after its server has last said so."""
LOST = "The server that ran this response ended before the response did."

Kind = Literal["input", "output"]

METADATA = MetaData()
RESPONSES = Table(
    "autotool_responses",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("previous_id", String(64)),
    Column("status", String(16), nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("value", JSON, nullable=False),
    Column("key_name", String(64)),
)
ITEMS = Table(
    "autotool_response_items",
    METADATA,
    Column("response_id", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("item_id", String(128), index=True),
    Column("value", JSON, nullable=False),
)
LEASES = Table(
    "autotool_response_leases",
    METADATA,
    Column("response_id", String(64), primary_key=True),
    Column("ends_at", BigInteger, nullable=False),
)

# An id of another form is in no row, and some texts, such as one with a zero byte, are none that a database takes.
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chain:
    """The items of a response and of all that it followed, oldest first."""

    ids: Sequence[str]
    items: Sequence[Mapping[str, Any]]


class ResponseStore:
    """Responses in a database. `ttl_seconds`: how long a response is kept after it was last stored or followed.

    A response is there only for the `key_name` with which it was stored, which is None for clients without a key of the keys
    file.
    """

    def __init__(self, url: str, ttl_seconds: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._engine = database.make_engine(url, "response_store")
        try:
            database.prepare(self._engine, METADATA, "responses", [_add_key_name])
        except SQLAlchemyError as error:
            # The message of the driver may hold the address, and so the password.
            reason = f"the database cannot be opened ({type(error).__name__})."
            raise AutoToolError(f"Setting response_store (--response-store): {reason}") from None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def save(
        self, response: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], chain: Sequence[str], key_name: str | None
    ) -> None:
        """Store a new response with the items of its input.

        `chain`: the responses that it follows, which are kept as long as this one.
        """
        response_id, row = response["id"], self._row(response)
        with self._engine.begin() as connection:
            self._delete_expired(connection)
            fixed = {"id": response_id, "previous_id": response["previous_response_id"], "key_name": key_name}
            connection.execute(insert(RESPONSES).values(**fixed, **row))
            if rows := [*_rows(response_id, "input", inputs), *_rows(response_id, "output", response["output"])]:
                connection.execute(insert(ITEMS), rows)
            if response["status"] in RUNNING:
                connection.execute(insert(LEASES).values(response_id=response_id, ends_at=_lease_end()))
            if chain:
                kept = update(RESPONSES).where(RESPONSES.c.id.in_(chain))
                connection.execute(kept.values(expires_at=row["expires_at"]))

    def end(self, response: Mapping[str, Any]) -> None:
        """Store how a running response has ended. Nothing is stored if it was deleted or cancelled in the meantime."""
        with self._engine.begin() as connection:
            self._end(connection, response)

    def renew(self, response_ids: Sequence[str]) -> None:
        """Renew the leases of responses that run."""
        with self._engine.begin() as connection:
            connection.execute(update(LEASES).where(LEASES.c.response_id.in_(response_ids)).values(ends_at=_lease_end()))

    def get(self, response_id: str, key_name: str | None) -> dict[str, Any] | None:
        """Return a response; None if there is none of this id."""
        if not _ID.fullmatch(response_id):
            return None
        with self._engine.begin() as connection:
            value = _value(connection, response_id, key_name)
            if value is not None and value["status"] in RUNNING and not _has_lease(connection, response_id):
                self._end(connection, {**value, **_failure(), "output": []})
                value = _value(connection, response_id, key_name)
            return None if value is None else {**value, "output": _items(connection, response_id, "output")}

    def inputs(self, response_id: str) -> list[dict[str, Any]]:
        """Return the items of a response's own input."""
        with self._engine.begin() as connection:
            return _items(connection, response_id, "input")

    def item(self, item_id: str, key_name: str | None) -> dict[str, Any] | None:
        """Return an item by its own id; None if there is none."""
        if not _ID.fullmatch(item_id):
            return None
        query = select(ITEMS.c.value).join(RESPONSES, RESPONSES.c.id == ITEMS.c.response_id)
        with self._engine.begin() as connection:
            return connection.scalar(query.where(ITEMS.c.item_id == item_id, _is_there(key_name)).limit(1))

    def chain(self, response_id: str, key_name: str | None) -> Chain:
        """Return the items of a response and of those that it follows. Raises InvalidRequestError."""
        ids: list[str] = []
        if not _ID.fullmatch(response_id):
            _check_link(None)
        current: str | None = response_id
        with self._engine.begin() as connection:
            while current is not None:
                query = select(RESPONSES.c.previous_id, RESPONSES.c.status)
                row = connection.execute(query.where(RESPONSES.c.id == current, _is_there(key_name))).first()
                _check_link(row.status if row is not None else None)
                ids.insert(0, current)
                current = row.previous_id if row is not None else None
            items = [item for link in ids for kind in ("input", "output") for item in _items(connection, link, kind)]
        return Chain(ids, items)

    def cancel(self, response_id: str, key_name: str | None) -> None:
        """Store that a running response was cancelled: one that another server runs, or that none runs any more."""
        if response := self.get(response_id, key_name):
            self.end({**response, "status": "cancelled"})

    def delete(self, response_id: str, key_name: str | None) -> bool:
        """Delete a response. Return whether there was one."""
        if not _ID.fullmatch(response_id):
            return False
        with self._engine.begin() as connection:
            self._delete_expired(connection)
            return _value(connection, response_id, key_name) is not None and _delete(connection, [response_id]) > 0

    def _end(self, connection: Connection, response: Mapping[str, Any]) -> None:
        is_running = (RESPONSES.c.id == response["id"]) & RESPONSES.c.status.in_(RUNNING)
        changed = connection.execute(update(RESPONSES).where(is_running).values(**self._row(response))).rowcount
        if changed and (rows := _rows(response["id"], "output", response["output"])):
            connection.execute(insert(ITEMS), rows)
        connection.execute(delete(LEASES).where(LEASES.c.response_id == response["id"]))

    def _row(self, response: Mapping[str, Any]) -> dict[str, Any]:
        value = {key: part for key, part in response.items() if key != "output"}
        return {"status": response["status"], "expires_at": int(time.time()) + self._ttl_seconds, "value": value}

    def _delete_expired(self, connection: Connection) -> None:
        # Rows that another write is deleting are left to it.
        query = select(RESPONSES.c.id).where(~_is_current()).limit(1000).with_for_update(skip_locked=True)
        if expired := connection.scalars(query).all():
            _delete(connection, expired)


def _add_key_name(connection: Connection) -> None:
    """Bring the tables to version 2. What is in them is then of no key."""
    if "key_name" not in {column["name"] for column in inspect(connection).get_columns(RESPONSES.name)}:
        connection.execute(text(f"ALTER TABLE {RESPONSES.name} ADD COLUMN key_name VARCHAR(64)"))


def _is_current() -> Any:
    return RESPONSES.c.expires_at > int(time.time())


def _is_there(key_name: str | None) -> Any:
    return _is_current() & (RESPONSES.c.key_name == key_name)


def _lease_end() -> int:
    return int(time.time()) + LEASE_SECONDS


def _has_lease(connection: Connection, response_id: str) -> bool:
    query = select(LEASES.c.ends_at).where(LEASES.c.response_id == response_id)
    return (connection.scalar(query) or 0) > int(time.time())


def _failure() -> dict[str, Any]:
    """Return what a response has of a server that ended."""
    return {"status": "failed", "error": {"code": "server_error", "message": LOST}}


def _value(connection: Connection, response_id: str, key_name: str | None) -> dict[str, Any] | None:
    return connection.scalar(select(RESPONSES.c.value).where(RESPONSES.c.id == response_id, _is_there(key_name)))


def _check_link(status: str | None) -> None:
    if status is None:
        message = "This response, or one that it follows, is not in the store, or has been deleted or has expired."
        raise InvalidRequestError(message, PREVIOUS, code="previous_response_not_found")
    if status not in CHAINED:
        raise InvalidRequestError(f"This response cannot be followed: it is {status}.", PREVIOUS)


def _rows(response_id: str, kind: Kind, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"response_id": response_id, "kind": kind, "position": position, "item_id": _item_id(item), "value": item}
        for position, item in enumerate(items)
    ]


def _item_id(item: Mapping[str, Any]) -> str | None:
    """Return the id by which an item can be referred to. Those of clients can be any text."""
    item_id = item.get("id")
    return item_id if isinstance(item_id, str) and _ID.fullmatch(item_id) else None


def _items(connection: Connection, response_id: str, kind: str) -> list[dict[str, Any]]:
    query = select(ITEMS.c.value).where(ITEMS.c.response_id == response_id, ITEMS.c.kind == kind)
    return list(connection.scalars(query.order_by(ITEMS.c.position)))


def _delete(connection: Connection, ids: Sequence[str]) -> int:
    for table in (ITEMS, LEASES):
        connection.execute(delete(table).where(table.c.response_id.in_(ids)))
    return connection.execute(delete(RESPONSES).where(RESPONSES.c.id.in_(ids))).rowcount
