"""Schemathesis against the OpenAPI document of a live server: no fault of the server, and every answer is documented."""

import asyncio
import sys

import pytest
from support.serving import Running, running, scripted

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
MAX_EXAMPLES = 8


async def failures(server: Running, *options: str) -> str | None:
    """Run Schemathesis; return what it writes if a check fails."""
    command = (
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url.removesuffix('/v1')}/openapi.json"),
        *("--checks", ",".join(CHECKS), "--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--generation-database", "none"),
        # Not the coverage phase, which takes minutes: it sends every boundary of every field.
        *("--phases", "examples,fuzzing", "--no-color", *options),
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate()
    return output.decode() if process.returncode else None


async def test_every_answer_is_documented() -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    async with running(scripted("Hm.\n</think>\n\nFour."), max_body_bytes=2**20) as server:
        assert await failures(server) is None
        await server.idle()
