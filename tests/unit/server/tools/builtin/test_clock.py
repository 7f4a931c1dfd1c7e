from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest

from autotool_server.tools.base import ToolError
from autotool_server.tools.builtin.clock import CONTINENTS, ClockTool
from autotool_server.tools.builtin.countries import countries


def one_moment(zone: tzinfo) -> datetime:
    return datetime(2026, 7, 1, 23, 30, tzinfo=UTC).astimezone(zone)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({}, "2026-07-01T23:30:00+00:00 Wednesday"),
        ({"timezone": "UTC"}, "2026-07-01T23:30:00+00:00 Wednesday"),
        ({"timezone": "Europe/Berlin"}, "2026-07-02T01:30:00+02:00 Thursday"),
        ({"timezone": "Asia/Kolkata"}, "2026-07-02T05:00:00+05:30 Thursday"),
        ({"timezone": "Japan"}, "2026-07-02T08:30:00+09:00 Thursday"),
    ],
)
async def test_time_in_a_zone(arguments: dict[str, str], answer: str) -> None:
    assert await ClockTool(one_moment).call(arguments) == answer


@pytest.mark.parametrize(
    ("city", "zone"),
    [
        ("Rome", "Europe/Rome"),
        ("rome", "Europe/Rome"),
        ("New York", "America/New_York"),
        ("New_York", "America/New_York"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Paris, France", "Europe/Paris"),
        ("Buenos Aires", "America/Argentina/Buenos_Aires"),
        ("St. John's", "America/St_Johns"),
        ("Port-au-Prince", "America/Port-au-Prince"),
        ("europe/rome", "Europe/Rome"),
        ("America/New York", "America/New_York"),
        ("Munich, Germany", "Europe/Berlin"),
        ("Germany", "Europe/Berlin"),
        ("Mumbai, India", "Asia/Kolkata"),
        ("Busan, South Korea", "Asia/Seoul"),
        ("Manchester, England, UK", "Europe/London"),
        ("Los Angeles, CA", "America/Los_Angeles"),
        ("Los Angeles, California, USA", "America/Los_Angeles"),
        ("Tbilisi, Georgia", "Asia/Tbilisi"),
        ("Calcutta, India", "Asia/Kolkata"),
    ],
)
async def test_time_in_a_city(city: str, zone: str) -> None:
    clock = ClockTool(one_moment)
    assert await clock.call({"timezone": city}) == await clock.call({"timezone": zone})


def test_zones_that_are_named_after_one_city_are_the_same() -> None:
    names: dict[str, set[timedelta | None]] = {}
    for zone in available_timezones():
        if zone.partition("/")[0] in CONTINENTS:
            offset = one_moment(ZoneInfo(zone)).utcoffset()
            names.setdefault(zone.rpartition("/")[2], set()).add(offset)
    assert len(names) > 400
    assert [name for name, offsets in names.items() if len(offsets) > 1] == []


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "/etc/localtime", "", "Europe", "a" * 5000, "\0", ",", "Central"]
)
async def test_an_unknown_zone(zone: str) -> None:
    with pytest.raises(ToolError) as error:
        await ClockTool().call({"timezone": zone})
    assert str(error.value) == (
        "The time zone of this place is not known. Give its country too, as in Munich, Germany, or a larger city of the same "
        "time zone, such as Rome, New York or Tokyo, or an IANA name, such as Europe/Berlin or UTC."
    )


@pytest.mark.parametrize(
    ("place", "zones"),
    [
        ("Beijing, China", "China: Asia/Shanghai, Asia/Urumqi."),
        ("Barcelona, Spain", "Spain: Europe/Madrid, Atlantic/Canary."),
        (
            "Seattle, USA",
            "United States: America/New_York, America/Chicago, America/Denver, America/Phoenix, America/Los_Angeles, "
            "America/Anchorage, America/Adak, Pacific/Honolulu.",
        ),
        ("Paris, United States", "United States: America/New_York, "),
    ],
)
async def test_a_country_of_several_zones_names_them(place: str, zones: str) -> None:
    with pytest.raises(ToolError, match=f"one of those of {zones}"):
        await ClockTool(one_moment).call({"timezone": place})


@pytest.mark.parametrize("place", ["Atlanta, Georgia", "Georgia", "San Francisco, CA", "Portland, ME"])
async def test_a_state_is_not_taken_for_a_country(place: str) -> None:
    with pytest.raises(ToolError, match="Give its country too"):
        await ClockTool(one_moment).call({"timezone": place})


def test_every_country_of_the_table_has_a_zone_that_is_known() -> None:
    assert len(countries()) > 230
    for country in countries().values():
        assert set(country.different_zones(2026)) <= set(country.zones) <= available_timezones()


async def test_the_names_that_a_misspelt_city_is_near_to() -> None:
    with pytest.raises(ToolError, match=r"not known \(there is America/New_York\)"):
        await ClockTool().call({"timezone": "New Yorck"})


async def test_the_default_clock_is_current() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    reported = datetime.fromisoformat((await ClockTool().call({})).split()[0])
    assert before <= reported <= datetime.now(UTC)
