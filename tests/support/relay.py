"""A TCP relay in front of a server, which can go away and come back at the same address."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit


class Relay:
    """Passes connections on to a server while it is open."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers = set[asyncio.StreamWriter]()
        self._port = 0

    @property
    def url(self) -> str:
        """The root URL of the relay."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Take connections, after the first time at the port of before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections, and break off all that there are."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, back}
        await asyncio.gather(_copy(reader, back), _copy(there, writer))
        self._writers -= {writer, back}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, OSError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()
