"""The server that `autotool bench run --model` starts for itself."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from autotool_bench.perf import servers
from autotool_core.errors import AutoToolError

LOG = "server.log"
DEFAULT_MODEL = "default"


@contextmanager
def own_server(model: str, options: Sequence[str], folder: Path) -> Iterator[str]:
    """Run `autotool serve` for a model on a free port while the block runs, and yield its base URL.

    The model `default` is the server's default model.

    Its log is `folder / LOG`, and is removed unless the server or the block fails. A server that loads is waited for as long
    as it runs, since the download of a checkpoint has no known duration. Raises AutoToolError, which names the log, if the
    server does not start or if the block raises one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    named = () if model == DEFAULT_MODEL else ("--model", model)
    server = servers.autotool(*named, *options, name="autotool serve")
    Console(stderr=True).print(f"Starting a server; its log: {log}", markup=False, highlight=False, soft_wrap=True)
    with servers.started(server, log, seconds=math.inf):
        try:
            yield server.url
        except AutoToolError as error:
            raise AutoToolError(f"{error}\nThe server's log: {log}") from error
    log.unlink()
