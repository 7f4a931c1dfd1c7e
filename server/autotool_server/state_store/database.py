"""How a database is opened, and what version of its tables it has."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from autotool_core.errors import AutoToolError
from autotool_core.extras import install_command

TIMEOUTS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c lock_timeout=4000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=10000",
}
"""Seconds to connect, milliseconds until a connection without an answer is given up, and milliseconds for a lock, a statement
and a pause within a transaction: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS,
https://www.postgresql.org/docs/current/runtime-config-client.html. An address may name its own, as with `?options=-c%20...`."""
VERSION = 1
"""The version of this package's tables as they first were. Whoever changes a table has `prepare` make the change in databases
that there are, which raises the version of that part."""

Change = Callable[[Connection], None]
"""Brings the tables of a part to the next version. It may find that this has been done."""

VERSIONS = MetaData()
TABLES_VERSION = Table(
    "autotool_tables_version",
    VERSIONS,
    Column("part", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
)


def make_engine(text: str, setting: str) -> Engine:
    """Return the engine of an address, without connecting. Raises AutoToolError, which names the setting, for a bad one."""
    option = f"Setting {setting} (--{setting.replace('_', '-')})"
    try:
        return _engine(_url(text, option))
    except (ImportError, NoSuchModuleError):
        driver = f"the driver of this database is not installed. For PostgreSQL: {install_command('postgresql')}."
        raise AutoToolError(f"{option}: {driver}") from None


def in_memory() -> Engine:
    """Return the engine of a new database in the process's memory."""
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def prepare(engine: Engine, tables: MetaData, part: str, changes: Sequence[Change] = ()) -> None:
    """Make the tables that the database does not have yet, and bring the others to this version.

    `part`: what they are of. `changes`: what was changed since the first version, oldest first.

    Raises SQLAlchemyError, and AutoToolError if a later version of this server has made them.
    """
    try:
        _prepare(engine, tables, part, changes)
    except DBAPIError:
        # Another server may have made or changed the same tables at the same time.
        _prepare(engine, tables, part, changes)


def _prepare(engine: Engine, tables: MetaData, part: str, changes: Sequence[Change]) -> None:
    latest = VERSION + len(changes)
    VERSIONS.create_all(engine)
    tables.create_all(engine)
    with engine.begin() as connection:
        version = connection.scalar(select(TABLES_VERSION.c.version).where(TABLES_VERSION.c.part == part))
        if version is None:
            connection.execute(insert(TABLES_VERSION).values(part=part, version=latest))
        elif version > latest:
            raise AutoToolError(f"The database of {part} is of a later version of this server. Update the server.")
        elif version < latest:
            for change in changes[version - VERSION :]:
                change(connection)
            connection.execute(update(TABLES_VERSION).where(TABLES_VERSION.c.part == part).values(version=latest))


def _url(text: str, option: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the second for a port that is no number, with a part of the password in its text
        raise AutoToolError(f"{option}: give an address such as sqlite:///state.db.") from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise AutoToolError(f"{option}: name a file, as in sqlite:///state.db.")
    return url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        is_psycopg = url.drivername == "postgresql+psycopg"
        limits = {name: value for name, value in TIMEOUTS.items() if is_psycopg and name not in url.query}
        return create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=limits)
    # SQLite has one writer at a time: one connection in turn is faster than several that find the file locked.
    return create_engine(url, pool_size=1, max_overflow=0, pool_timeout=60, hide_parameters=True)


def do_not_wait_for_disk(engine: Engine) -> None:
    """Have SQLite write without waiting for the disk each time, so that only a loss of power loses the last seconds."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def set_pragmas(connection: object, _: object) -> None:  # pyright: ignore[reportUnusedFunction] the decorator keeps it
            cursor = connection.cursor()  # pyright: ignore[reportAttributeAccessIssue] a connection of the driver
            cursor.execute("PRAGMA synchronous=NORMAL")
            # Kept in the file once it is set; while another server uses the file it cannot be, and need not.
            with suppress(sqlite3.OperationalError):
                cursor.execute("PRAGMA journal_mode=WAL")
            cursor.close()
