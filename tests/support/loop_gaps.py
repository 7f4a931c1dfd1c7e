"""The longest gap of the server's event loop during hostile requests: `PYTHONPATH=tests python -m support.loop_gaps`.

The engine is scripted; what is measured is the server. The client runs in a thread of the same process, so that bodies of
4 MB cost their own encoding too.
"""

import asyncio
import sys
import time
from typing import Any

import httpx

from autotool_server.launch import lifecycle
from support.serving import running, scripted

USER = [{"role": "user", "content": "2+2?"}]
OLD_ENUM = {"$schema": "http://json-schema.org/draft-04/schema#", "enum": [{"k": number} for number in range(2700)]}
NAMES = [f"p{number}" for number in range(10_000)]
MANY_NAMES = {"type": "object", "properties": {name: {"type": "string"} for name in NAMES}, "required": NAMES}


def _answered_in(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}


def _doubling(depth: int) -> dict[str, Any]:
    pairs = {f"d{n}": {"properties": {name: {"$ref": f"#/$defs/d{n - 1}"} for name in "ab"}} for n in range(1, depth + 1)}
    return {"$ref": f"#/$defs/d{depth}", "$defs": {"d0": {"type": "string"}, **pairs}}


def _free_names(number: int) -> dict[str, Any]:
    properties = {f"p{number}_{index}_property_name": {"type": "string", "maxLength": 50 + number} for index in range(8)}
    return {"type": "object", "properties": properties, "additionalProperties": {"type": "string"}}


def _called_with(*schemas: Any) -> dict[str, Any]:
    functions = [{"name": f"t{number}", "parameters": schema} for number, schema in enumerate(schemas)]
    return {"tools": [{"type": "function", "function": each} for each in functions], "tool_choice": "required"}


CASES = {
    "ordinary tool": _called_with({"type": "object", "properties": {"a": {"type": "string"}}}),
    "pattern ^a{20000}$": _answered_in({"type": "string", "pattern": "^a{20000}$"}),
    "$ref doubling 30 times": _answered_in(_doubling(30)),
    "enum of 2,700 objects, draft 4": _answered_in(OLD_ENUM),
    "the same again": _answered_in(OLD_ENUM),
    "10,000 required properties": _answered_in(MANY_NAMES),
    "20 tools with free names": _called_with(*map(_free_names, range(20))),
    "2,000 tools": _called_with(*[{"type": "object", "properties": {"a": {"type": "string"}}}] * 2000),
    "message of 4 MB": {"messages": [{"role": "user", "content": "The quick fox. " * 2**18}]},
}


class _Gaps:
    """Ticks every 10 ms; `longest` is the longest time without a tick, in seconds."""

    longest = 0.0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last - 0.01), now


def _post(url: str, body: dict[str, Any]) -> int:
    request = {"model": "tested", "mode": "short", "max_tokens": 8, "messages": USER, **body}
    return httpx.post(f"{url}/chat/completions", json=request, timeout=600).status_code


async def main() -> None:
    """Print a table."""
    engine = scripted("x")
    engine.max_model_len = 8192
    async with running(engine) as server, asyncio.TaskGroup() as group:
        gaps = _Gaps()
        ticking = group.create_task(gaps.run())
        await asyncio.to_thread(_post, server.url, CASES["ordinary tool"])  # the processes have started
        lifecycle.freeze_loaded_objects()  # as `autotool serve` does
        await asyncio.sleep(0.1)
        for name, body in CASES.items():
            gaps.longest, started = 0.0, time.perf_counter()
            status = await asyncio.to_thread(_post, server.url, body)
            row = (name, status, f"{time.perf_counter() - started:.1f} s", f"{gaps.longest * 1000:.0f} ms")
            sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")
            sys.stdout.flush()
        ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
