"""The models of a server, as a table."""

from typing import Annotated

import typer
from rich.table import Table

from autotool_client.client import DEFAULT_BASE_URL, AutoTool
from autotool_client.discovery import models_by_name
from autotool_client.errors import expecting_openai
from autotool_core.console import plain_console

Url = Annotated[
    str, typer.Option(envvar="AUTOTOOL_BASE_URL", metavar="URL", help="Base URL of the server; /v1 may be left out.")
]


def list_models(url: str = DEFAULT_BASE_URL) -> None:
    """Print the names and owners of a server's models."""
    table = Table("Model", "Owner", box=None, pad_edge=False)
    client = AutoTool(base_url=url, max_retries=0)
    with expecting_openai(client.base_url):
        for name, model in models_by_name(client.models.list()).items():
            table.add_row(name, model.owned_by)
    plain_console().print(table)
