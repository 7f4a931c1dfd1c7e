"""`autotool keys`: keys for the clients of a server, each with limits of its own."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from autotool_core import extras
from autotool_core.api_keys import NAME, NAME_RULE, hash_of, new_key
from autotool_core.errors import AutoToolError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Make the keys of a server's clients, check their file, and show what they have used."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which logs and figures know the key.")],
) -> None:
    """Print a new key, which is shown only now, and the lines of the keys file that let it in."""
    if not re.fullmatch(NAME, name):
        raise AutoToolError(f"NAME must be {NAME_RULE}.")
    key = new_key()
    typer.echo(f"Give this key to the client. It is not kept anywhere:\n\n{key}\n")
    typer.echo(f'Add these lines to the keys file (autotool serve --keys FILE):\n\n[keys."{name}"]\nhash = "{hash_of(key)}"')
    typer.echo("# requests_per_minute = 60\n# tokens_per_minute = 20000")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Keys file, as `autotool serve --keys` takes it.")],
) -> None:
    """Print what each key of a keys file may use, a line a key.

    A mistake in the file is an error that names the key and the field, with exit code 1.
    """
    for line in _tables("check").lines_of_keys(file):
        typer.echo(line)


@app.command()
def usage(
    spend_store: Annotated[
        str, typer.Option(metavar="URL", envvar="AUTOTOOL_SPEND_STORE", help="Database of the servers' --spend-store.")
    ],
    keys_file: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="FILE", envvar="AUTOTOOL_KEYS", help="Keys file, for keys without use and limits of tokens."
        ),
    ] = None,
) -> None:
    """Print what all keys have used today and this month (UTC), by mode. Requests in flight are not in it yet."""
    typer.echo(_tables("usage").table_of_use(spend_store, keys_file))


def _tables(name: str) -> Any:
    """Return the module that makes what a command prints. Raises AutoToolError if a package that it needs is missing."""
    extras.require(f"`autotool keys {name}`", "server")
    return import_module("autotool_server.api.keys.tables")
