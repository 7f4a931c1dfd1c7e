"""`autotool keys`: keys for the clients of a server, each with limits of its own."""

import re
from typing import Annotated

import typer

from autotool_core.api_keys import NAME, NAME_RULE, hash_of, new_key
from autotool_core.errors import AutoToolError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Make keys for the clients of a server."""


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
