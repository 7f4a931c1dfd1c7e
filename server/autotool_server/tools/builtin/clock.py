"""The built-in tool `clock`: the current date and time."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autotool_server.tools.base import Policy, ToolError, ToolSpec

DESCRIPTION = "The date and time now, in ISO 8601 with the offset from UTC, and the day of the week."
PARAMETERS = {
    "type": "object",
    "properties": {
        "timezone": {"type": "string", "description": "IANA name, such as Europe/Berlin.", "default": "UTC", "maxLength": 64}
    },
    "additionalProperties": False,
}


class ClockTool:
    """Returns the current date and time."""

    def __init__(self, now: Callable[[tzinfo], datetime] = datetime.now) -> None:
        self.spec = ToolSpec("clock", DESCRIPTION, PARAMETERS, Policy(read_only=True, idempotent=True))
        self._now = now

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the date, the time and the day of the week. Raises ToolError for an unknown time zone."""
        now = self._now(_zone(arguments.get("timezone", "UTC")))
        return f"{now.isoformat(timespec='seconds')} {now:%A}"


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # UTC needs no database of time zones, which a small container may lack.
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # ZoneInfo also rejects paths, folders and names that are too long.
        raise ToolError("This time zone is not known. Give an IANA name such as Europe/Berlin or UTC.") from error
