"""The client of `worker`: one process in the official package's environment, for coroutines and for synchronous code."""

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
"""Time limit of an operation. The official ones take milliseconds; a call of a model may compute a billion digits."""

_SCRIPT = Path(__file__).with_name("worker.py")


class RefusedError(AutoToolError):
    """The official code failed on this request; the process continues."""


class ScorerProcess:
    """A process that handles one request at a time, and takes requests from any thread.

    After its end every request raises AutoToolError with the reason of the end.
    """

    def __init__(self, python: Path, root: Path, seconds: float = SECONDS) -> None:
        requests, requests_end = os.pipe()
        replies, replies_end = os.pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = [python, "-I", "-X", "utf8", _SCRIPT, str(requests), str(replies_end), str(seconds)]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            env=environment.variables(root),
            pass_fds=(requests, replies_end),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
        )
        os.close(requests)
        os.close(replies_end)
        self._requests = os.fdopen(requests_end, "wb", buffering=0)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._pending: dict[int, Future[Any]] = {}
        self._end_error: AutoToolError | None = None
        self._reader = threading.Thread(target=self._read, args=(replies,), daemon=True)
        self._reader.start()
        self._hello = self.request("hello")

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def hello(self) -> dict[str, Any]:
        """Return the process's description of itself, once it has started. Raises AutoToolError if it cannot start."""
        return self._hello.result()

    def request(self, op: str, **arguments: Any) -> "Future[Any]":
        """Send a request. Its future raises RefusedError if the operation fails, AutoToolError if the process has ended."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._end_error:
                future.set_exception(self._end_error)
                return future
            number = next(self._numbers)
            self._pending[number] = future
            line = json.dumps({"n": number, "op": op, "arguments": arguments}) + "\n"
            with suppress(BrokenPipeError):  # the reader thread learns the reason, and fails the future
                self._write(line.encode())
        return future

    def call(self, op: str, **arguments: Any) -> Any:
        """Send a request and wait for its result."""
        return self.request(op, **arguments).result()

    async def call_async(self, op: str, **arguments: Any) -> Any:
        """`call` for a coroutine."""
        return await asyncio.wrap_future(self.request(op, **arguments))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end_error = self._end_error or AutoToolError("The BFCL scorer has been closed.")
        self._requests.close()  # the process ends when its pipe is closed
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
                future = self._pending.pop(reply["n"])
                if "error" in reply:
                    future.set_exception(RefusedError(f"the official code failed: {reply['error']}"))
                else:
                    future.set_result(reply["value"])
        self._fail_pending()

    def _fail_pending(self) -> None:
        """Fail the pending requests and all later ones."""
        status = self._process.wait()
        with self._lock:
            self._end_error = self._end_error or AutoToolError(f"The BFCL scorer's process ended ({self._last_words(status)}).")
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(self._end_error)

    def _last_words(self, status: int) -> str:
        ended = f"killed by signal {-status}" if status < 0 else f"status {status}"
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{ended}: {lines[-1][:300]}" if lines else ended
