"""The server that `autotool bench run --model` starts for itself."""

import argparse
import math
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autotool_bench.perf import servers
from autotool_client.errors import UnreachableError
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server import default_model

LOG = "server.log"
DEFAULT_MODEL = "default"


def read_options(text: str | None) -> list[str]:
    """Return the words of --serve-options. Raises AutoToolError for a quote that is not closed and for a fixed option."""
    try:
        options = shlex.split(text or "")
    except ValueError as error:
        raise AutoToolError(
            f"--serve-options cannot be split into words ({str(error).lower()}): close every quote, as in "
            "\"--engine-arg 'a=b c'\"."
        ) from error
    servers.reject_fixed(options)
    return options


def model_name(model: str, options: Sequence[str]) -> str:
    """Return the name that a server with these options gives its model, unless an argument of its engine changes it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--served-model-name")
    named: str | None = parser.parse_known_args(options)[0].served_model_name
    return named or (default_model.NAME if model == DEFAULT_MODEL else model)


@contextmanager
def own_server(model: str, options: Sequence[str], folder: Path) -> Iterator[str]:
    """Run `autotool serve` for a model on a free port while the block runs, and yield its base URL.

    The model `default` is the server's default model.

    Its log is `folder / LOG`, and is removed unless the server or the block fails. A server that loads is waited for as long
    as it runs, since the download of a checkpoint has no known duration. Raises AutoToolError, which names the log, if the
    server does not start or does not answer later.
    """
    log = folder / LOG
    named = () if model == DEFAULT_MODEL else ("--model", model)
    server = servers.autotool(*named, *options, name="autotool serve")
    plain_console(stderr=True).print(f"Starting a server; its log: {log}", soft_wrap=True)
    with servers.started(server, log, seconds=math.inf):
        try:
            yield server.url
        except UnreachableError as error:
            raise UnreachableError(f"{error}\nThe server's log: {log}") from error
    log.unlink()
