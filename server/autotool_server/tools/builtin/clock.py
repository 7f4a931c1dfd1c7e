"""The built-in tool `clock`: the current date and time."""

import difflib
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from autotool_server.tools.base import Policy, ToolError, ToolSpec

POLICY = Policy(read_only=True, idempotent=True, repeatable=True)
DESCRIPTION = "The date and time now in a city, in ISO 8601 with the offset from UTC, and the day of the week."
PARAMETERS = {
    "type": "object",
    "properties": {
        "timezone": {
            "type": "string",
            "description": "A city, such as Rome or New York, or an IANA name, such as Europe/Berlin.",
            "default": "UTC",
            "maxLength": 64,
        }
    },
    "additionalProperties": False,
}
CONTINENTS = (*("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"),)
"""First parts of the names of zones that end with a city or an island."""


class ClockTool:
    """Returns the current date and time."""

    def __init__(self, now: Callable[[tzinfo], datetime] = datetime.now, policy: Policy = POLICY) -> None:
        self.spec = ToolSpec("clock", DESCRIPTION, PARAMETERS, policy)
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
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ZoneInfo also rejects paths, folders and names that are too long.
        return _zone_of_city(name)


def _zone_of_city(name: str) -> tzinfo:
    """Return the zone of a city, after which a country may follow: `Paris, France`. Raises ToolError for an unknown one."""
    city = _folded(name.partition(",")[0])
    if zone := _cities().get(city):
        return ZoneInfo(zone)
    raise ToolError(
        f"The time zone of this place is not known{_nearest(city)}. Give a larger city of the same time zone, such as Rome, "
        "New York or Tokyo, or an IANA name, such as Europe/Berlin or UTC."
    )


def _nearest(city: str) -> str:
    """Return names like that of a city, as a part of a sentence."""
    near = difflib.get_close_matches(city[:64], _cities(), n=3, cutoff=0.8)
    return f" (there is {', '.join(sorted({_cities()[match] for match in near}))})" if near else ""


@cache
def _cities() -> Mapping[str, str]:
    """Return the zones of the IANA database by the cities that they are named after, and by their whole names."""
    zones = [zone for zone in sorted(available_timezones()) if zone.partition("/")[0] in CONTINENTS]
    by_name = {_folded(zone): zone for zone in zones}
    # Zones that end with the same name are links to one.
    return MappingProxyType({_folded(zone.rpartition("/")[2]): zone for zone in zones} | by_name)


def _folded(name: str) -> str:
    """Return a name without case, accents, spaces and signs: `São Paulo`, `sao paulo` and `Sao_Paulo` are one."""
    return "".join(character for character in unicodedata.normalize("NFKD", name).casefold() if character.isalnum())
