"""`autotool models`: the models of a server, and what is found about a checkpoint before it is served."""

from importlib import import_module
from typing import Annotated

import typer

from autotool_client.client import DEFAULT_BASE_URL
from autotool_client.models import Url, list_models
from autotool_core import extras

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, url: Url = DEFAULT_BASE_URL) -> None:
    """List the models that a server has.

    If the server needs a key, it is read from AUTOTOOL_API_KEY.
    """
    if context.invoked_subcommand is None:
        list_models(url)


@app.command()
def inspect(
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint or its name on the hub. Default: the default model."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Profile to show in place of the one that would be found.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the profile alone, as a mode_profile.json to edit and to pass to --profile.")
    ] = False,
) -> None:
    """Show what the server finds about a checkpoint: think block, tool-call format, modes, and why.

    Only the tokenizer and the chat template are read, not the weights.
    """
    extras.require("`autotool models inspect`", "server")
    import_module("autotool_server.launch.inspect").show(checkpoint, profile, as_json=as_json)
