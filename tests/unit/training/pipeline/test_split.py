"""Tests of the conversations that are held out."""

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.pipeline.split import MOST, conversations, count_repeated, hold_out


def turns(conversations: int, answers: int = 3) -> list[Record]:
    return [
        turn(row, [f"Request {row}.{at}" for at in range(number)])
        for row in range(conversations)
        for number in range(1, answers + 1)
    ]


def turn(row: object, requests: list[str], answer: str = "Hello.") -> Record:
    messages = [{"role": "system", "content": "Be brief."}]
    for request in requests:
        messages += [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
    fixed = {"tools": [], "calls": [], "content": answer, "source": "d", "licence": "unknown"}
    return Record(id=f"d/{row}/{len(requests) - 1}", messages=messages[:-1], **fixed)


def names(records: list[Record]) -> set[str]:
    return {record.id.rpartition("/")[0] for record in records}


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
    logged = [turn(f"{row}-{count}", [f"{row}?", "More?", "All?"][:count]) for row in range(10) for count in (3, 1, 2)]
    assert [len(one) for one in conversations(logged)] == [3] * 10
    kept, held = hold_out(logged, None, seed=0)
    assert (len(kept), len(held)) == (24, 6)
    asked = [{record.messages[1]["content"] for record in side} for side in (kept, held)]
    assert asked[0].isdisjoint(asked[1])


def test_rows_that_answer_the_same_requests_in_other_words_are_one() -> None:
    rows = [turn(f"{row}-{answer}", [f"Rain in town {row}?", "And wind?"], answer) for row in range(10) for answer in "ab"]
    assert [len(one) for one in conversations(rows)] == [2] * 10


def test_conversations_that_begin_alike_are_not_one() -> None:
    greeted = [turn(row, requests) for row in range(10) for requests in (["Hi"], ["Hi", f"Book room {row}"])]
    assert [len(one) for one in conversations(greeted)] == [2] * 10
    kept, held = hold_out([turn("alone", ["hi!"]), *greeted], None, seed=0)
    # The answer to the greeting is trained on.
    assert (len(kept), [one.id.endswith("/1") for one in held]) == (17, [True] * 2)


def test_rows_that_share_more_than_one_request_are_one() -> None:
    edited = [
        turn(f"{row}-{last}", [f"Rain in town {row}?", "And wind?", last]) for row in range(10) for last in ("All?", "Now?")
    ]
    assert [len(one) for one in conversations(edited)] == [2] * 10


def test_requests_that_differ_in_signs_alone_are_not_the_same() -> None:
    assert [len(one) for one in conversations([turn(sign, [f"What is 17 {sign} 25?"]) for sign in "+*"])] == [1, 1]


def test_held_out_requests_that_are_trained_on_too_are_counted() -> None:
    kept, held = [turn(0, ["Hi", "Book 0 2"])], [turn(3, ["Hi", "Book 3 2"]), turn(4, ["book: 0 2"])]
    assert count_repeated(kept, held) == 1


@pytest.mark.parametrize(("conversations", "count"), [(1, None), (4, 4)])
def test_none_left_to_train_on_is_an_error(conversations: int, count: int | None) -> None:
    with pytest.raises(AutoToolError, match=f"There are {conversations} conversations"):
        hold_out(turns(conversations), count, seed=0)
