"""Tests of shared tools: no shared tool could serve another record, and none could serve an irrelevant record."""

import json
import random
from typing import Any

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.distractors import REFUSALS, Distractors, could_serve
from autotool_training.data.shared_tools import group_by_tool_set, share_tools


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def request_for(request: str, *names: str) -> Record:
    """Return a request that calls these tools."""
    return Record(
        id=request,
        tools=[tool(name) for name in names],
        messages=[{"role": "user", "content": request}],
        calls=[GoldCall(name=name, arguments={}) for name in names],
        source="glaive",
        licence="Apache-2.0",
    )


def offered(one: Record) -> list[str]:
    return [tool_["function"]["name"] for tool_ in one.tools]


RECORDS = [request_for(f"Do thing {index}", f"run{chr(97 + index)}{index}") for index in range(20)]


def test_records_share_all_tools_and_none_is_lost() -> None:
    pool = Distractors([tool("mixPaint"), tool("bookTable")], 0)
    made = list(share_tools(RECORDS, 5, 0, pool, 0.0))
    assert [one.id for one in made] == [one.id for one in RECORDS]
    assert {json.dumps(one.tools) for one in made[:5]} == {json.dumps(made[0].tools)}
    assert sorted(offered(made[0])) == sorted(name for one in RECORDS[:5] for name in offered(one))
    assert len({json.dumps(one.tools) for one in made}) == 4
    assert {tuple(offered(one)) for one in made} != {tuple(sorted(offered(one))) for one in made}


def test_a_tool_that_could_serve_another_request_is_not_shared_with_it() -> None:
    rain, town = request_for("Rain in the town?", "getRain"), request_for("Anything", "findTown")
    assert could_serve(town.tools[0], rain)
    assert [len(one.records) for one in group_by_tool_set([rain, town], 5)] == [1, 1]
    assert [len(one.records) for one in group_by_tool_set([town, rain], 5)] == [1, 1]
    # The tools have the same name but are different.
    other = rain.model_copy(update={"tools": [tool("getRain", day={"type": "string"})], "id": "other"})
    assert [len(one.records) for one in group_by_tool_set([rain, other], 5)] == [1, 1]
    assert [len(one.records) for one in group_by_tool_set([rain, rain], 5)] == [2]


def test_irrelevant_records_join_tool_sets_that_cannot_serve_them() -> None:
    pool = Distractors([tool("mixPaint")], 0)
    made = list(share_tools(RECORDS, 5, 0, pool, 0.4))
    refusals = [one for one in made if not one.calls]
    assert {one.id for one in made} == {one.id for one in RECORDS}
    assert 2 < len(refusals) < 15
    calling = [json.dumps(one.tools) for one in made if one.calls]
    for one in refusals:
        (own,) = next(offered(asked) for asked in RECORDS if asked.id == one.id)
        assert own not in offered(one)
        assert one.content in REFUSALS
        assert json.dumps(one.tools) in calling


def test_an_irrelevant_record_without_a_suitable_tool_set_is_unchanged() -> None:
    rain, snow = request_for("Rain or snow?", "getRain"), request_for("Snow or rain?", "getSnow")
    pool = Distractors([tool("mixPaint"), tool("bookTable")], 0)
    share = next(
        share for share in (index / 100 for index in range(100)) if pool.is_drawn(rain, share) != pool.is_drawn(snow, share)
    )
    made = list(share_tools([rain, snow], 5, 0, pool, share))
    assert sorted(offered(one) for one in made) == [["getRain"], ["getSnow"]]
    assert all(one.calls for one in made)


def test_a_refused_record_is_not_offered_its_own_tool_as_a_distractor() -> None:
    pool = Distractors([tool for one in RECORDS for tool in one.tools], 0)
    refusals = [one for one in share_tools(RECORDS, 5, 12, pool, 0.4) if not one.calls]
    own = {one.id: offered(one)[0] for one in RECORDS}
    assert len(refusals) > 2
    assert not [one.id for one in refusals if own[one.id] in offered(one)]


def test_distractors_could_serve_none_of_the_records() -> None:
    pool = Distractors([tool("mixPaint"), tool("bookTable"), tool("thing")], 0)
    drawn = pool.choose_for_all(RECORDS[:3], {"mixPaint"}, 5, random.Random(0))  # noqa: S311 not a secret
    assert [one["function"]["name"] for one in drawn] == ["bookTable"]
    sizes = {len(one.tools) for one in share_tools(RECORDS, 2, 2, pool, 0.0)}
    assert sizes == {2, 3, 4}
