"""A PostgreSQL server of its own, for tests that say `pytestmark = NEEDED` and take the fixture `database`."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

INITDB, PG_CTL = shutil.which("initdb"), shutil.which("pg_ctl")
NEEDED = [
    pytest.mark.skipif(INITDB is None or PG_CTL is None, reason="no PostgreSQL (initdb, pg_ctl) on this machine"),
    pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg, the driver of PostgreSQL, is not installed"),
]

# initdb refuses to run as the superuser.
USER = "nobody" if os.geteuid() == 0 else None


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a new database."""
    with server() as url:
        yield url


@contextmanager
def server() -> Iterator[str]:
    """Start the server of a new database, which listens on a socket in its folder. Yields its address."""
    # A socket's path may have a hundred characters only, so pytest's own folders are too deep.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if USER is not None:
            shutil.chown(folder, USER)
        data = folder / "data"
        _run("initdb", "--auth=trust", "--username=tested", "--no-sync", "--pgdata", str(data))
        start(f"postgresql://tested@/postgres?host={folder}")
        try:
            yield f"postgresql://tested@/postgres?host={folder}"
        finally:
            stop(f"postgresql://tested@/postgres?host={folder}")


def start(url: str) -> None:
    """Start the server of a database."""
    folder = _folder(url)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    _run("pg_ctl", "--wait", "--pgdata", f"{folder}/data", "--log", f"{folder}/log", "--options", options, "start")


def stop(url: str) -> None:
    """End it, with its connections."""
    _run("pg_ctl", "--wait", "--pgdata", f"{_folder(url)}/data", "--mode=immediate", "stop")


def _folder(url: str) -> str:
    return url.partition("?host=")[2]


def _run(command: str, *arguments: str) -> None:
    subprocess.run([command, *arguments], check=True, capture_output=True, timeout=120, cwd="/", user=USER)
