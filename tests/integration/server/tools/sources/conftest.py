"""MCP servers in other processes, over both transports, with and without the protocol's handshake."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.mcp_served import WAYS, Served, serve


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
async def calm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server shared by the tests that do not change it."""
    way, era = request.param
    async with serve(way, era, tmp_path_factory.mktemp("mcp")) as served:
        yield served


@pytest.fixture(params=WAYS, ids="-".join)
async def own(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """A separate server for each test."""
    way, era = request.param
    async with serve(way, era, tmp_path) as served:
        yield served
