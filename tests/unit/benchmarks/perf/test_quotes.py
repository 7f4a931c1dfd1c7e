"""Quotes against what then happened: the requests that are sent, and the table."""

import pytest
from support.serving import running, scripted

from autotool_bench.perf import quotes


async def test_a_server_that_keeps_to_its_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    items = [*quotes._items(30)]
    async with running(scripted("Yes.")) as server:
        kept = await quotes._ask(server.url, items, 20, 2)
    assert len(kept) == 10
    assert {one.seeded["long_probability"] for one in kept} <= {0.0, 1.0}
    assert {one.unseeded["long_probability"] for one in kept} == {0.5}
    quotes._report(kept)
    table = capsys.readouterr().out.splitlines()
    seeded, unseeded = table[1].split(), table[2].split()
    assert (seeded[:4], seeded[-1]) == (["with", "seed", "10", "100.0%"], "100.0%")
    assert (unseeded[:4], unseeded[-1] == "100.0%") == (["without", "seed", "10", "100.0%"], False)


async def test_without_history_nothing_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(scripted("Yes.")) as server:
        kept = await quotes._ask(server.url, [*quotes._items(1)], 0, 1)
    quotes._report(kept)
    assert "with seed     none: too few answers before them" in capsys.readouterr().out
