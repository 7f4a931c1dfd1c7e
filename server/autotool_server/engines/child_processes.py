"""An engine's own processes: they end with the process that started them, and are seen to stop or to hang.

vLLM's processes notice themselves that their parent has ended, but only when they can: not while they compute, load or are
stopped. vLLM in turn notices that one has ended, but not that it is stopped or hangs.
"""

import asyncio
import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""

LOOK_SECONDS = 1.0
HANG_SECONDS = 300.0
"""Time of a step after which an engine hangs: vLLM's own limit for its workers (VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS)."""
STOPPED_LOOKS = 5
"""Number of looks in a row that find a process stopped, after which the engine is taken for failed."""

_START = BaseProcess.start


@contextmanager
def ending_with_this() -> Iterator[list[BaseProcess]]:
    """Have the processes that are started inside end when this thread does, and those that they start when they do.

    Yields those of this process. The kernel ends them (on Linux; elsewhere nothing is done), whatever they are at. Those that a
    fork server starts are left out, whose parent it is.
    """
    start, started, thread = BaseProcess.start, list[BaseProcess](), threading.get_ident()

    def start_bound(self: BaseProcess) -> None:
        if threading.get_ident() != thread:
            start(self)
            return
        # multiprocessing has no hook that runs in a new process.
        if (getattr(self, "_start_method", None) or multiprocessing.get_start_method()) != "forkserver":
            vars(self)["_target"] = partial(_run_bound, os.getpid(), vars(self)["_target"])
        start(self)
        started.append(self)

    BaseProcess.start = start_bound
    try:
        yield started
    finally:
        BaseProcess.start = start


def _run_bound(parent: int, target: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Run the target of a new process."""
    _leave_parent()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os.kill(os.getpid(), signal.SIGKILL)
    with ending_with_this():
        target(*args, **kwargs)


def _leave_parent() -> None:
    """Give up what a forked process has of its parent: hooks, handlers of signals and the connections of clients.

    It collects garbage, which the parent may not do while it starts.
    """
    BaseProcess.start = _START
    gc.enable()
    signal.set_wakeup_fd(-1)  # else the parent's event loop would take this process's signals for its own
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open() as nothing:
        for descriptor in _connections():
            # Not closed: objects of the parent would close the number again, which may then be another file's.
            os.dup2(nothing.fileno(), descriptor)


def _connections() -> list[int]:
    """Return the descriptors of this process that are sockets of the network; those between processes are of another kind."""
    found: list[int] = []
    for entry in Path("/proc/self/fd").glob("*"):
        descriptor = int(entry.name)
        with suppress(OSError):  # that of the folder itself is gone
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                if copy.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(descriptor)
    return found


def family(processes: Sequence[BaseProcess]) -> list[psutil.Process]:
    """Return the processes, and all that they have started."""
    first = [psutil.Process(process.pid) for process in processes]
    return [member for process in first for member in (process, *process.children(recursive=True))]


class Watch:
    """Sees that an engine makes no step, or that one of its processes stays stopped, and kills these processes.

    `probe` is answered between two steps. `max_looks`: how many looks, one a second, a step may take. Looks are counted
    because a clock goes on while a machine, and this process with it, is suspended.
    """

    def __init__(self, processes: Sequence[psutil.Process], probe: Callable[[], Awaitable[object]], max_looks: float) -> None:
        self._processes = processes
        self._probe = probe
        self._max_looks = max_looks
        self._probing: asyncio.Future[None] | None = None
        self._num_waited = 0
        self._num_stopped = 0
        self.failure: str | None = None
        """What was seen; None as long as nothing was."""

    async def run(self) -> None:
        """Look until the engine has failed and its processes have been killed, or the task is cancelled."""
        try:
            while self.failure is None:
                await asyncio.sleep(LOOK_SECONDS)
                self.failure = self._look()
        finally:
            if self._probing is not None:
                self._probing.cancel()
        logger.error("%s", self.failure)
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _look(self) -> str | None:
        """Return what is wrong; None as long as nothing is."""
        if self._probing is None or self._probing.done():
            self._probing, self._num_waited = asyncio.ensure_future(self._ask()), 0
        else:
            self._num_waited += 1
        self._num_stopped = self._num_stopped + 1 if self._is_stopped() else 0
        if self._num_stopped >= STOPPED_LOOKS:
            return "A process of the engine is stopped."
        if self._num_waited >= self._max_looks:
            return f"The engine has made no step for {self._max_looks:g} seconds."
        return None

    async def _ask(self) -> None:
        # An error is an answer too; that the engine has ended is told by its own health.
        with suppress(Exception):
            await self._probe()

    def _is_stopped(self) -> bool:
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    return True
        return False
