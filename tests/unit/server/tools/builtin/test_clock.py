from datetime import UTC, datetime, tzinfo

import pytest

from autotool_server.tools.base import ToolError
from autotool_server.tools.builtin.clock import ClockTool


def one_moment(zone: tzinfo) -> datetime:
    return datetime(2026, 7, 1, 23, 30, tzinfo=UTC).astimezone(zone)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({}, "2026-07-01T23:30:00+00:00 Wednesday"),
        ({"timezone": "UTC"}, "2026-07-01T23:30:00+00:00 Wednesday"),
        ({"timezone": "Europe/Berlin"}, "2026-07-02T01:30:00+02:00 Thursday"),
        ({"timezone": "Asia/Kolkata"}, "2026-07-02T05:00:00+05:30 Thursday"),
    ],
)
async def test_time_in_a_zone(arguments: dict[str, str], answer: str) -> None:
    assert await ClockTool(one_moment).call(arguments) == answer


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "/etc/localtime", "", "Europe", "a" * 5000, "\0"])
async def test_an_unknown_zone(zone: str) -> None:
    with pytest.raises(ToolError) as error:
        await ClockTool().call({"timezone": zone})
    assert str(error.value) == "This time zone is not known. Give an IANA name such as Europe/Berlin or UTC."


async def test_the_default_clock_is_current() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    reported = datetime.fromisoformat((await ClockTool().call({})).split()[0])
    assert before <= reported <= datetime.now(UTC)
