"""The time zones of countries, from the tables `iso3166.tab` and `zone.tab` of the IANA database, which tzdata has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from types import MappingProxyType
from zoneinfo import ZoneInfo

OTHER_NAMES = {
    "England": "GB",
    "Great Britain": "GB",
    "Scotland": "GB",
    "UK": "GB",
    "United Kingdom": "GB",
    "America": "US",
    "US": "US",
    "USA": "US",
    "United States of America": "US",
    "Czechia": "CZ",
    "South Korea": "KR",
}
"""Names that the table does not have. Codes of two letters are no names: CA and AL are states of the USA too."""
AMBIGUOUS = ("Georgia",)
"""Names that are a state's as well."""


@dataclass(frozen=True, slots=True)
class Country:
    """A country and the names of all its zones; that of most people comes first."""

    name: str
    zones: tuple[str, ...]

    def different_zones(self, year: int) -> Sequence[str]:
        """Return the first zone of each kind: those of one kind have the same time in the winter and the summer of a year."""
        kinds: dict[object, str] = {}
        for zone in self.zones:
            moments = (datetime(year, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)) for month in (1, 7))
            kinds.setdefault(tuple(moment.utcoffset() for moment in moments), zone)
        return [*kinds.values()]


@cache
def countries() -> Mapping[str, Country]:
    """Return the countries by their names in English."""
    zones: dict[str, tuple[str, ...]] = {}
    for code, _, zone, *_ in _rows("zone.tab"):
        zones[code] = (*zones.get(code, ()), zone)
    # `Britain (UK)` and `Korea (South)`: what is in brackets tells apart what has one name.
    by_code = {code: Country(name.partition(" (")[0], zones[code]) for code, name in _rows("iso3166.tab") if code in zones}
    names = [country.name for country in by_code.values()]
    named = {country.name: country for country in by_code.values() if names.count(country.name) == 1}
    known = named | {name: by_code[code] for name, code in OTHER_NAMES.items()}
    return MappingProxyType({name: country for name, country in known.items() if name not in AMBIGUOUS})


def _rows(table: str) -> Iterator[list[str]]:
    text = resources.files("tzdata.zoneinfo").joinpath(table).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
