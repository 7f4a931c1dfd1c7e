"""The address of the server that a run ends by, checked before hours of training. It needs the extra `server`."""

from autotool_server.launch.listener import listen
from autotool_server.settings import load_settings


def reject_address() -> None:
    """Raise AutoToolError if a server could not have the address that its variables name, or if one of them is malformed."""
    settings = load_settings()
    listen(settings.host, settings.port).close()
