"""Memory stays flat over 2,000 requests of mixed kinds, half of them cut off by the client."""

import asyncio
import gc

import httpx
import psutil
from support.serving import running, scripted

from autotool_bench.perf.soak import TOLERANCE, bodies

TEXT = "Hm, well.\n</think>\n\nIt is four, I should think, or thereabouts."
ROUNDS = 5


async def test_memory_stays_flat() -> None:
    engine = scripted(TEXT)
    async with running(engine) as server, httpx.AsyncClient(base_url=server.url) as client:

        async def send(body: dict[str, object], leaves: bool) -> None:
            request = asyncio.create_task(client.post("/chat/completions", json=body))
            if leaves:
                await asyncio.sleep(0.002)
                request.cancel()
            await asyncio.gather(request, return_exceptions=True)

        seen: list[int] = []
        for _ in range(ROUNDS):
            requests = bodies(2000 // ROUNDS)
            for at in range(0, len(requests), 20):
                await asyncio.gather(*(send(*one) for one in requests[at : at + 20]))
            await server.idle()
            # What the engine remembers for other tests is not the server's.
            engine.requests.clear()
            engine.aborted.clear()
            gc.collect()
            seen.append(psutil.Process().memory_info().rss)
        assert abs(seen[-1] / seen[0] - 1) < TOLERANCE
