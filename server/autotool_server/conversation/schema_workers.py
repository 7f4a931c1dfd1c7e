"""Processes that work on the schemas of clients, which may take for ever: few of them, and each can be killed.

They are forked from a server of `multiprocessing` that has imported what they need, which takes seconds; a killed worker is
replaced in milliseconds. `concurrent.futures` cannot kill a worker. Pebble can, but its pool is broken for good by the death of
an idle worker, and cannot tell which tool a killed one was working on.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation import schema_worker
from autotool_server.conversation.fair_semaphore import FairSemaphore
from autotool_server.conversation.schema_worker import Report
from autotool_server.errors import OverloadedError

MEMORY_BYTES = 512 * 2**20
"""What a worker may allocate beyond what it was started with."""
WAIT_SECONDS = 120.0
"""The longest wait for a free worker. The first ones may take half a minute to start on a busy machine."""
SLOWNESS = 12
"""How many times longer than its CPU time a task may take, on a machine that is busy."""
EXIT_SECONDS = 5.0
"""How long the end of a worker is waited for that has closed its connection."""

Found = list[str | None] | InvalidRequestError
"""Grammars, or the error of a request that is to be refused."""


def number_of_workers() -> int:
    """Return how many workers there are: one hostile schema leaves another one free."""
    return max(2, min(8, (os.cpu_count() or 1) // 4))


def preload() -> None:
    """Start the process that workers are forked from. It imports in the background."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.schema_imports"])
    resource_tracker.ensure_running()  # its start would unblock the signal
    # A terminal sends Ctrl-C to all processes. This one and its workers end with the server.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SchemaWorkers:
    """A bounded number of workers, shared out fairly. `cpu_seconds`: what a task may take."""

    def __init__(self, cpu_seconds: int) -> None:
        number = number_of_workers()
        self._cpu_seconds = cpu_seconds
        self._slots = FairSemaphore(number)
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="schemas")
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    @property
    def processes(self) -> Sequence[int]:
        """The ids of the workers' processes."""
        return [pid for worker in (*self._idle, *self._busy) if (pid := worker.pid) is not None]

    async def run(self, text: str, field: str) -> Found:
        """Return the grammars of a task, or why it is refused, this time and any other. Being cancelled kills the worker.

        A refusal names the field that was in work, at first `field`. Raises InvalidRequestError for a task that only took too
        long on a busy machine, and OverloadedError if no worker becomes free.
        """
        await self._take_slot()
        worker = self._idle.pop() if self._idle else _Worker(self._cpu_seconds)
        self._busy.add(worker)
        try:
            report = await asyncio.get_running_loop().run_in_executor(self._threads, worker.ask, text, field)
        except BaseException:
            worker.kill()
            raise
        finally:
            self._busy.discard(worker)
            self._slots.release()
        if report.is_full:
            worker.kill()
        else:
            self._idle.append(worker)
        return _found(report)

    async def _take_slot(self) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            message = "The server is at work on too many JSON schemas. Try again in a second."
            raise OverloadedError(message, "schema_workers") from None

    def close(self) -> None:
        """Kill all workers, and wait until they have ended."""
        workers = (*self._idle, *self._busy)
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
        self._idle.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _found(report: Report) -> Found:
    if report.kind == "refused":
        message, field, code = report.value
        return InvalidRequestError(message, field, code=code)
    if report.kind == "failed":
        raise RuntimeError(f"A worker has failed on the schemas of a request:\n{report.value}")
    return report.value


class _Worker:
    """One process, which is started by its first task."""

    def __init__(self, cpu_seconds: int) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._is_killed = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def ask(self, text: str, field: str) -> Report:
        """Have a task done, in a thread. Raises InvalidRequestError where its process was ended from outside, or is late."""
        connection, process = self._started()
        has_ended = False
        try:
            connection.send_bytes(text.encode())
            deadline = time.monotonic() + SLOWNESS * self._cpu_seconds
            while connection.poll(max(deadline - time.monotonic(), 0)):
                report: Report = connection.recv()
                if report.kind != "working_on":
                    return report
                field = report.value
        except (EOFError, OSError):
            process.join(EXIT_SECONDS)
            has_ended = process.exitcode not in (None, -signal.SIGKILL)
        message = (
            f"The JSON schema here takes more than {self._cpu_seconds} s of CPU time (setting schema_seconds) or "
            f"{MEMORY_BYTES // 2**20} MiB of memory to check and to make a grammar of. Use a simpler one."
        )
        if not has_ended:
            raise InvalidRequestError(message, field, code="invalid_schema")
        return Report("refused", (message, field, "invalid_schema"), is_full=True)

    def kill(self) -> None:
        """End the process, at once and whatever it does."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()

    def join(self) -> None:
        """Wait until the process has ended, so that it is no child of this one any more."""
        if self._process is not None:
            self._process.join(EXIT_SECONDS)

    def _started(self) -> tuple[Connection, BaseProcess]:
        """Return the connection to the process, which is started if it is not there, or not any more."""
        if self._process is None or self._connection is None or not self._process.is_alive():
            self._process, self._connection = _start(self._cpu_seconds)
        if self._is_killed:  # while it was being started, which takes seconds if the libraries are not imported yet
            self._process.kill()
        return self._connection, self._process


_STARTING = threading.Lock()
"""Processes are started one after another: `multiprocessing` keeps lists of them without a lock."""


def _start(cpu_seconds: int) -> tuple[BaseProcess, Connection]:
    with _STARTING:
        preload()
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe()
        process = context.Process(target=schema_worker.serve, args=(theirs, cpu_seconds, MEMORY_BYTES), daemon=True)
        process.start()
        theirs.close()
        return process, ours
