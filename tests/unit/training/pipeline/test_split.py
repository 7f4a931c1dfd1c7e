"""Tests of the conversations that are held out."""

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.pipeline.split import MOST, conversation, count_repeated, hold_out


def turns(conversations: int, answers: int = 3) -> list[Record]:
    return [turn(row, [0] * number) for row in range(conversations) for number in range(1, answers + 1)]


def turn(row: int, asked: list[int]) -> Record:
    messages = [{"role": "system", "content": "Be brief."}]
    messages += [{"role": "user", "content": f"Request {row}.{number}"} for number in asked]
    fixed = {"tools": [], "calls": [], "content": "Hi.", "source": "d", "licence": "unknown"}
    return Record(id=f"d/{row}/{len(asked)}", messages=messages, **fixed)


def names(records: list[Record]) -> set[str]:
    return {conversation(record) for record in records}


def test_whole_conversations_are_held_out_by_the_seed() -> None:
    records = turns(50)
    kept, held = hold_out(records, None, seed=0)
    assert (len(names(kept)), len(names(held)), names(kept) & names(held)) == (40, 10, set())
    assert sorted(one.id for one in [*kept, *held]) == sorted(one.id for one in records)
    assert hold_out(records, None, seed=0) == (kept, held)
    assert names(hold_out(records, None, seed=1)[1]) != names(held)


def test_their_number_is_given_or_limited() -> None:
    assert len(names(hold_out(turns(50), 4, seed=0)[1])) == 4
    assert len(names(hold_out(turns(5 * MOST + 500, 1), None, seed=0)[1])) == MOST
    assert len(names(hold_out(turns(2), None, seed=0)[1])) == 1


def test_rows_that_log_a_growing_conversation_are_one() -> None:
    records = [turn(row, list(range(length + 1))) for row in range(10) for length in range(3)]
    logged = [record.model_copy(update={"id": f"d/{line}/0"}) for line, record in enumerate(records)]
    kept, held = hold_out(logged, None, seed=0)
    assert (len(kept), len(held)) == (24, 6)
    assert {record.messages[1]["content"] for record in kept}.isdisjoint(record.messages[1]["content"] for record in held)


def test_held_out_requests_that_are_trained_on_too_are_counted() -> None:
    kept, held = [turn(0, [1, 2])], [turn(3, [1, 2]), turn(4, [1])]
    held[1].messages[-1]["content"] = "request 0 2"
    assert count_repeated(kept, held) == 1


@pytest.mark.parametrize(("conversations", "count"), [(1, None), (4, 4)])
def test_none_left_to_train_on_is_an_error(conversations: int, count: int | None) -> None:
    with pytest.raises(AutoToolError, match=f"There are {conversations} conversations"):
        hold_out(turns(conversations), count, seed=0)
