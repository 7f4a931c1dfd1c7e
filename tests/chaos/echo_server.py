"""The HTTP tool of the suite, `python -m chaos.echo_server PORT`: it returns the arguments that it is called with."""

import sys

from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    """Return the body."""
    return web.json_response(await request.json())


async def health(_: web.Request) -> web.Response:
    """Say that the server is there."""
    return web.Response()


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.add_routes([web.post("/echo", echo), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
