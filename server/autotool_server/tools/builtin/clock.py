"""The built-in tool `clock`: the current date and time."""

import difflib
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from autotool_server.tools.base import Policy, ToolError, ToolSpec
from autotool_server.tools.builtin.countries import Country, countries

POLICY = Policy(read_only=True, idempotent=True, max_failures=0, repeatable=True)
DESCRIPTION = "The date and time now in a city, in ISO 8601 with the offset from UTC, and the day of the week."
PARAMETERS = {
    "type": "object",
    "properties": {
        "timezone": {
            "type": "string",
            "description": "A city, such as Rome or New York; a city and its country, such as Munich, Germany; or an IANA "
            "name, such as Europe/Berlin.",
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
        self.spec = ToolSpec("clock", DESCRIPTION, PARAMETERS, policy, source="builtin")
        self._now = now

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the date, the time and the day of the week. Raises ToolError for an unknown time zone."""
        now = self._now(_zone(arguments.get("timezone", "UTC"), self._now(UTC)))
        return f"{now.isoformat(timespec='seconds')} {now:%A}"


def _zone(name: str, moment: datetime) -> tzinfo:
    if name == "UTC":
        # UTC needs no database of time zones, which a small container may lack.
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ZoneInfo also rejects paths, folders and names that are too long.
        return ZoneInfo(_zone_of_place(name, moment))


def _zone_of_place(name: str, moment: datetime) -> str:
    """Return the zone of a city or of a country, or of a city with its country: `Munich, Germany`.

    Raises ToolError, which names zones, for a place whose zone is not known.
    """
    city, country = _folded(name.partition(",")[0]), _countries().get(_folded(name.rpartition(",")[2]))
    zone = _cities().get(city)
    if country is None:
        if zone is not None:
            return zone
        raise ToolError(
            f"The time zone of this place is not known{_nearest(city)}. Give its country too, as in Munich, Germany, or a "
            "larger city of the same time zone, such as Rome, New York or Tokyo, or an IANA name, such as Europe/Berlin or UTC."
        )
    # Other countries have cities of the same name: Paris in the United States.
    if zone is not None and _offset(zone, moment) in {_offset(other, moment) for other in country.zones}:
        return zone
    zones = country.different_zones(moment.year)
    if len(zones) > 1:
        raise ToolError(
            f"The time zone of this place is one of those of {country.name}: {', '.join(zones)}. Give the one that it "
            "is in, or a larger city of the same time zone."
        )
    return zones[0]


def _offset(zone: str, moment: datetime) -> timedelta | None:
    return moment.astimezone(ZoneInfo(zone)).utcoffset()


@cache
def _countries() -> Mapping[str, Country]:
    return MappingProxyType({_folded(name): country for name, country in countries().items()})


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
