"""The audit log: one line of JSON for every call of a server tool, without its arguments and its result."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, NoReturn

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_server.request_id import REQUEST_ID
from autotool_server.tools.base import Policy
from autotool_server.tools.metrics import AUDIT_FAILURES
from autotool_server.tools.results import Outcome, Result
from autotool_server.tools.server_call import ServerCall

logger = logging.getLogger(__name__)

BEGIN_SECONDS = 10.0
"""How long a call that acts waits for its first line before it is not run."""
CLOSE_SECONDS = 5.0
"""How long the end of the server waits for the last lines."""
BEGUN = "begun"
CANCELLED = "cancelled"
STILL_RUNNING = "still_running"
UNWRITABLE = "The operator's log of calls cannot be written, without which this tool is not run. Answer with what you have."


class _File(WatchedFileHandler):
    """A file that is opened anew when it was renamed, and whose faults are raised."""

    def handleError(self, record: logging.LogRecord) -> NoReturn:  # noqa: N802 the name of the library
        """Raise the error that is being handled, which the library would print."""
        del record
        raise  # noqa: PLE0704 the library calls this where it has caught the error


class AuditLog:
    """The file of the audit log, written by a thread of its own: a slow disk must not hold up the event loop.

    Raises AutoToolError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._is_closed = False
        self.is_at_work = False
        """Whether the thread may still write after `close`, which would keep the process from ending."""
        try:
            self._file = _File(path, encoding="utf-8")
        except OSError as error:
            raise AutoToolError(f"Setting audit_log: the file {path} cannot be written: {error.strerror}.") from None

    def write(self, line: Mapping[str, Any]) -> asyncio.Future[bool]:
        """Append a line, with the time, after those before it. The future says whether it was written."""
        text = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line})
        loop = asyncio.get_running_loop()
        if not self._is_closed:
            return loop.run_in_executor(self._writer, self._append, text)
        unwritten = loop.create_future()
        unwritten.set_result(self._failed("it is closed"))
        return unwritten

    async def write_soon(self, line: Mapping[str, Any]) -> bool:
        """Append a line. Return whether it was written within `BEGIN_SECONDS`; a disk that hangs may write it later."""
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                return await asyncio.shield(self.write(line))
        except TimeoutError:
            return self._failed(f"it has taken nothing for {BEGIN_SECONDS:g} seconds")

    def _append(self, text: str) -> bool:
        try:
            self._file.emit(logging.makeLogRecord({"msg": text}))
        except (OSError, ValueError) as error:  # a file that was closed after a fault is a ValueError
            return self._failed(error)
        return True

    def _failed(self, reason: object) -> bool:
        """Tell of a line that is lost. Return False."""
        AUDIT_FAILURES.inc()
        logger.error("The audit log cannot be written: %s", reason)
        return False

    async def close(self) -> None:
        """Write what is left, and close the file. This waits for `CLOSE_SECONDS` at most."""
        self._is_closed = True
        closing = asyncio.get_running_loop().run_in_executor(self._writer, self._close)
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        self._writer.shutdown(wait=False)
        self.is_at_work = not closing.done()
        if self.is_at_work:
            logger.error("The audit log could not be written to its end within %g seconds.", CLOSE_SECONDS)

    def _close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            logger.error("The audit log cannot be closed: %s", error)  # noqa: TRY400 the reason is in the message


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log as one request writes it; without a log nothing is written."""

    log: AuditLog | None = None
    key: str | None = None
    """The name of the client's key in the keys file."""

    async def begun(self, call: ServerCall) -> bool:
        """Write that a call begins, if its tool acts, so that a crash leaves a trace of it. Return whether the call may run."""
        acts = call.tool is not None and call.tool.spec.policy.acts
        return self.log is None or not acts or await self.log.write_soon({**self._line(call), "outcome": BEGUN})

    def ended(self, call: ServerCall, result: Result) -> None:
        """Write how a call has ended, or why it was not run, unless its end is written."""
        size = len(result.content.encode(errors="replace"))
        self._write(call, result.outcome, result.ended - result.started, size)

    def cancelled(self, call: ServerCall, seconds: float) -> None:
        """Write that a call was cancelled before it began, while it waited or while it ran."""
        self._write(call, CANCELLED, seconds, 0)

    def still_running(self, call: ServerCall, seconds: float) -> None:
        """Write that a call goes on which was cancelled `seconds` ago. How it ends is a line of its own."""
        if self.log is not None:
            self.log.write({**self._line(call), "outcome": STILL_RUNNING, "seconds": round(seconds, 3)})

    def repeated(self, call: ServerCall) -> None:
        """Write that a call is answered from the same one before it."""
        self._write(call, Outcome.REPEATED, 0.0, 0)

    def _write(self, call: ServerCall, outcome: str, seconds: float, size: int) -> None:
        """Write the line of a call's end, the first time that it has one."""
        if self.log is not None and not call.is_logged:
            call.is_logged = True
            self.log.write({**self._line(call), "outcome": outcome, "seconds": round(seconds, 3), "result_bytes": size})

    def _line(self, call: ServerCall) -> dict[str, Any]:
        policy = call.tool.spec.policy if call.tool is not None else Policy()
        return {
            "request": REQUEST_ID.get(),
            "key": self.key,
            "call": call.id[:64],  # a client sends it where it approves a call
            "tool": call.name[:64],
            "source": call.tool.spec.source if call.tool is not None else None,
            "approval": policy.approval,
            "approved": call.approved,
            "arguments_sha256": arguments_hash(call.arguments),
        }


def arguments_hash(text: str) -> str:
    """Return the SHA-256 of the arguments, equal for equal JSON objects; of what the model wrote if it is none."""
    with suppress(ValueError, RecursionError):
        text = Call.parse("", text).canonical_arguments()
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
