"""Records that are offered the same tools: none of them could take another's, and those made irrelevant find no tool."""

import json
import random
from typing import Any

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.distractors import REFUSALS, Distractors, could_serve
from autotool_training.data.shared_tools import offers, together


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def asks(request: str, *names: str) -> Record:
    """A request whose calls are of these tools."""
    return Record(
        id=request,
        tools=[tool(name) for name in names],
        messages=[{"role": "user", "content": request}],
        calls=[GoldCall(name=name, arguments={}) for name in names],
        source="glaive",
        licence="Apache-2.0",
    )


def offered(one: Record) -> list[str]:
    return [each["function"]["name"] for each in one.tools]


PLENTY = [asks(f"Do thing {at}", f"run{chr(97 + at)}{at}") for at in range(20)]


def test_records_share_the_tools_of_all_and_nothing_is_lost() -> None:
    pool = Distractors([tool("mixPaint"), tool("bookTable")], 0)
    made = list(together(PLENTY, 5, 0, pool, 0.0))
    assert [one.id for one in made] == [one.id for one in PLENTY]
    assert {json.dumps(one.tools) for one in made[:5]} == {json.dumps(made[0].tools)}
    assert sorted(offered(made[0])) == sorted(name for one in PLENTY[:5] for name in offered(one))
    assert len({json.dumps(one.tools) for one in made}) == 4
    assert {tuple(offered(one)) for one in made} != {tuple(sorted(offered(one))) for one in made}


def test_a_tool_that_could_serve_another_request_is_not_offered_beside_it() -> None:
    rain, town = asks("Rain in the town?", "getRain"), asks("Anything", "findTown")
    assert could_serve(town.tools[0], rain)
    assert [len(one.records) for one in offers([rain, town], 5)] == [1, 1]
    assert [len(one.records) for one in offers([town, rain], 5)] == [1, 1]
    # Of one name, and yet another tool.
    other = rain.model_copy(update={"tools": [tool("getRain", day={"type": "string"})], "id": "other"})
    assert [len(one.records) for one in offers([rain, other], 5)] == [1, 1]
    assert [len(one.records) for one in offers([rain, rain], 5)] == [2]


def test_irrelevant_records_join_offers_without_a_tool_for_them() -> None:
    pool = Distractors([tool("mixPaint")], 0)
    made = list(together(PLENTY, 5, 0, pool, 0.4))
    refusals = [one for one in made if not one.calls]
    assert {one.id for one in made} == {one.id for one in PLENTY}
    assert 2 < len(refusals) < 15
    calling = [json.dumps(one.tools) for one in made if one.calls]
    for one in refusals:
        (own,) = next(offered(asked) for asked in PLENTY if asked.id == one.id)
        assert own not in offered(one)
        assert one.content in REFUSALS
        assert json.dumps(one.tools) in calling


def test_an_irrelevant_record_that_fits_nowhere_stays_what_it_is() -> None:
    rain, snow = asks("Rain or snow?", "getRain"), asks("Snow or rain?", "getSnow")
    pool = Distractors([tool("mixPaint"), tool("bookTable")], 0)
    share = next(share for share in (at / 100 for at in range(100)) if pool.is_drawn(rain, share) != pool.is_drawn(snow, share))
    made = list(together([rain, snow], 5, 0, pool, share))
    assert sorted(offered(one) for one in made) == [["getRain"], ["getSnow"]]
    assert all(one.calls for one in made)


def test_a_refused_record_is_not_offered_its_own_tool_as_a_distractor() -> None:
    pool = Distractors([tool for one in PLENTY for tool in one.tools], 0)
    refusals = [one for one in together(PLENTY, 5, 12, pool, 0.4) if not one.calls]
    own = {one.id: offered(one)[0] for one in PLENTY}
    assert len(refusals) > 2
    assert not [one.id for one in refusals if own[one.id] in offered(one)]


def test_more_tools_are_those_that_serve_nobody() -> None:
    pool = Distractors([tool("mixPaint"), tool("bookTable"), tool("thing")], 0)
    drawn = pool.for_all(PLENTY[:3], {"mixPaint"}, 5, random.Random(0))  # noqa: S311 not a secret
    assert [one["function"]["name"] for one in drawn] == ["bookTable"]
    sizes = {len(one.tools) for one in together(PLENTY, 2, 2, pool, 0.0)}
    assert sizes == {2, 3, 4}
