"""The worker process of `schema_workers`: it does one task after another, under limits of memory and CPU time."""

import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.schema_task import answer

MEMORY_USED_UP = 3
"""The exit status of a worker that may not allocate more memory."""

Kind = Literal["working_on", "done", "refused", "failed"]


class Report(NamedTuple):
    """What a worker tells of its task; every kind but `working_on` is the last."""

    kind: Kind
    value: Any = None
    """`working_on`: the field. `done`: the grammars. `refused`: message, field and code. `failed`: the traceback."""
    is_full: bool = False
    """Whether the worker has used so much memory that another one should take its place."""


def serve(connection: Connection, cpu_seconds: int, memory_bytes: int) -> None:
    """Answer tasks until the other end is closed, which it is too if the server dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its workers itself
    most_data = _limit_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(EOFError, BrokenPipeError):
        while True:
            text = connection.recv_bytes().decode()
            _limit_cpu(cpu_seconds)
            report = _report(text, lambda field: connection.send(Report("working_on", field)))
            connection.send(report._replace(is_full=_data_bytes() > most_data - memory_bytes // 2))


def _report(text: str, working_on: Callable[[str], None]) -> Report:
    try:
        return Report("done", answer(text, working_on))
    except InvalidRequestError as error:
        return Report("refused", (str(error), error.field, error.code))
    except MemoryError:
        os._exit(MEMORY_USED_UP)
    except Exception:
        return Report("failed", traceback.format_exc())


def _limit_memory(more_bytes: int) -> int:
    """Let the process allocate no more than that beyond what it has; return what it may have, in bytes.

    Only Linux counts what a process has allocated in this way.
    """
    most = _data_bytes() + more_bytes
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return most


def _limit_cpu(seconds: int) -> None:
    """End the process by SIGXCPU when it has used so much CPU time from now on, rounded up to a second."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))


def _data_bytes() -> int:
    """Return the bytes of memory that the process has allocated; 0 where that is not known."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[5]) * resource.getpagesize() if statistics.exists() else 0
