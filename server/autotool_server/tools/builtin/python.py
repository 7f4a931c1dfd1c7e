"""The built-in tool `python`: it runs a program of the model in a sandbox and returns its output."""

import asyncio
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Policy, ToolError, ToolSpec
from autotool_server.tools.builtin.sandbox import ENVIRONMENT, METHODS, Sandbox

PROBE = Path(__file__).with_name("probe.py")
PROBE_SECONDS = 30

DESCRIPTION = (
    "Run a Python 3 program and return what it prints (also to standard error). Standard library only; no network; an empty "
    "working folder that is removed afterwards; nothing is kept from one run to the next. Print what you want to see."
)
PARAMETERS = {
    "type": "object",
    "properties": {"code": {"type": "string", "description": "The program.", "maxLength": 100_000}},
    "required": ["code"],
    "additionalProperties": False,
}
# A run leaves nothing behind, so a discarded or repeated run changes nothing. Each may keep a core busy, and has memory.
POLICY = Policy(read_only=True, idempotent=True, max_failures=0, max_concurrent=max(2, os.cpu_count() or 1))


class PythonTool:
    """Runs `code` in a new process inside a sandbox that has been probed."""

    def __init__(self, sandbox: Sandbox, policy: Policy = POLICY) -> None:
        self.spec = ToolSpec("python", DESCRIPTION, PARAMETERS, policy, source="builtin")
        self._sandbox = sandbox

    async def call(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the program's output. Raises ToolError, with the output, if its exit status is not 0, and OversizeError."""
        process = await asyncio.create_subprocess_exec(
            *self._sandbox.command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        try:
            output = await self._communicate(process, arguments["code"].encode(errors="replace"))
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                # The killed process does end, and a second cancellation must not interrupt the wait for it.
                await asyncio.shield(_reap(process))
        if status:
            raise ToolError(f"{_exit_message(status, self._sandbox)} It printed:\n{output.decode(errors='replace')}")
        return output or b"The program ended well and printed nothing."

    async def _communicate(self, process: asyncio.subprocess.Process, code: bytes) -> bytes:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 both are pipes
        process.stdin.write(code)
        process.stdin.close()
        limit, output = self.spec.policy.max_result_bytes, b""
        while chunk := await process.stdout.read(64 * 1024):
            output += chunk
            if len(output) > limit:
                raise OversizeError(limit)
        return output


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Read the output of a killed process to its end and wait for it. Some releases of asyncio wait for both."""
    while process.stdout is not None and await process.stdout.read(64 * 1024):
        pass
    await process.wait()


def _exit_message(status: int, sandbox: Sandbox) -> str:
    # A shell reports signal n as status 128 + n; SIGXCPU is 24.
    if status in {-24, 128 + 24, -9, 128 + 9}:
        return f"The program was stopped: killed, or more than {sandbox.limits.cpu_seconds} s of CPU time."
    return f"The program ended with status {status}."


def python_tool(policy: Policy = POLICY) -> PythonTool:
    """Return the tool with the first isolation method that works. Raises AutoToolError with the reasons if none does."""
    failures: dict[str, str] = {}
    for method in METHODS:
        sandbox = Sandbox(method)
        failure = probe(sandbox)
        if failure is None:
            return PythonTool(sandbox, policy)
        failures[method] = failure
    reasons = "; ".join(f"{method}: {failure}" for method, failure in failures.items())
    raise AutoToolError(
        f"The built-in tool python cannot be isolated on this machine, and is not run unprotected ({reasons}). Install "
        "bubblewrap and allow user namespaces, or leave python out of --builtin-tools."
    )


def probe(sandbox: Sandbox) -> str | None:
    """Return the reason why the sandbox must not be used; None if it holds. Blocks for some tenths of a second."""
    with tempfile.NamedTemporaryFile() as outside:
        Path(outside.name).chmod(0o644)
        try:
            process = subprocess.run(  # noqa: S603 the sandbox's command
                sandbox.command(),
                input=_probe_program(sandbox, outside.name).encode(),
                env=ENVIRONMENT,
                cwd="/",
                capture_output=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if process.returncode == 0 and process.stdout == b"[]\n":
        return None
    return (process.stderr or b"inside it could reach: " + process.stdout).decode(errors="replace").strip()[-300:]


def _probe_program(sandbox: Sandbox, outside: str) -> str:
    names = ("net", "pid", "mnt", "ipc", "uts", "user")
    facts = {
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in names},  # noqa: PTH115 the target is no path
        "file": outside,
        "folders": sorted({Path(path).parts[1] for path in sandbox.visible_paths()} | {"dev", "proc", "tmp"}),
        # The shell adds some variables, and the interpreter may add LC_CTYPE.
        "environment": [*ENVIRONMENT, "PWD", "OLDPWD", "LC_CTYPE", "SHLVL", "_"],
        "processes": sandbox.limits.processes + 1,
    }
    return re.sub(r"(?m)^FACTS = .*$", lambda _: f"FACTS = {json.dumps(facts)}", PROBE.read_text())
