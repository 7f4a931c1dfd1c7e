"""The other end of `worker`: one process of the official package's environment, asked from a loop or from plain code."""

import asyncio
import itertools
import json
import os
import subprocess
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from autotool_bench.suites.bfcl import environment
from autotool_core.errors import AutoToolError

SECONDS = 60.0
"""For one operation. The official ones take milliseconds; a call that asks for a number of a billion digits takes for ever."""

_SCRIPT = Path(__file__).with_name("worker.py")


class RefusedError(AutoToolError):
    """The official code failed on this request; the process goes on."""


class ScorerProcess:
    """A process that answers one request at a time, and is asked from any thread.

    Every request after its death raises AutoToolError, which says how it died.
    """

    def __init__(self, python: Path, root: Path, seconds: float = SECONDS) -> None:
        requests, ours = os.pipe()
        replies, answered = os.pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = [python, "-I", "-X", "utf8", _SCRIPT, str(requests), str(answered), str(seconds)]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            env=environment.variables(root),
            pass_fds=(requests, answered),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,  # an interrupt at the terminal is for us alone
        )
        os.close(requests)
        os.close(answered)
        self._requests = os.fdopen(ours, "wb", buffering=0)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._open: dict[int, Future[Any]] = {}
        self._death: AutoToolError | None = None
        self._reader = threading.Thread(target=self._read, args=(replies,), daemon=True)
        self._reader.start()
        self._hello = self.request("hello")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def hello(self) -> dict[str, Any]:
        """What the process says of itself; the first call waits until it is up. Raises AutoToolError if it cannot start."""
        return self._hello.result()

    def request(self, op: str, **arguments: Any) -> "Future[Any]":
        """Send a request. Its future raises RefusedError for what goes wrong in the process, AutoToolError once it is dead."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._death:
                future.set_exception(self._death)
                return future
            number = next(self._numbers)
            self._open[number] = future
            line = json.dumps({"n": number, "op": op, "arguments": arguments}) + "\n"
            with suppress(BrokenPipeError):  # the reader finds out why, and fails the future
                self._write(line.encode())
        return future

    def call(self, op: str, **arguments: Any) -> Any:
        """Send a request and wait for the answer."""
        return self.request(op, **arguments).result()

    async def call_async(self, op: str, **arguments: Any) -> Any:
        """`call` for a coroutine."""
        return await asyncio.wrap_future(self.request(op, **arguments))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._death = self._death or AutoToolError("The BFCL scorer has been closed.")
        self._requests.close()  # it ends with the pipe
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._stderr.close()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._requests.write(data) :]

    def _read(self, replies: int) -> None:
        with os.fdopen(replies, encoding="utf-8") as lines:
            for line in lines:
                reply = json.loads(line)
                future = self._open.pop(reply["n"])
                if "error" in reply:
                    future.set_exception(RefusedError(f"the official code failed: {reply['error']}"))
                else:
                    future.set_result(reply["value"])
        self._fail_pending()

    def _fail_pending(self) -> None:
        """Fail what waits and what comes."""
        status = self._process.wait()
        with self._lock:
            self._death = self._death or AutoToolError(f"The BFCL scorer's process ended ({self._last_words(status)}).")
            waiting, self._open = self._open, {}
        for future in waiting.values():
            future.set_exception(self._death)

    def _last_words(self, status: int) -> str:
        ended = f"killed by signal {-status}" if status < 0 else f"status {status}"
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{ended}: {said[-1][:300]}" if said else ended
