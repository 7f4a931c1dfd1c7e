"""What settles which answer solved a request, and what is kept."""

import pytest

from autotool_core.modes import ResolvedMode
from autotool_server.audit import records
from autotool_server.audit.records import Answer, Record, Records

GOOD, OTHER, BROKEN = Answer(10, True, ("a",)), Answer(20, True, ("b",)), Answer(30, False)


def record(answer: Answer = GOOD, other: Answer | None = OTHER, tools: bool | None = None) -> Record:
    return Record("alice", ResolvedMode.SHORT, answer, tools, other)


@pytest.mark.parametrize(
    ("found", "solved", "other_solved", "by"),
    [
        (record(), True, True, "form"),
        (record(BROKEN), False, True, "form"),
        (record(other=BROKEN), True, False, "form"),
        (record(tools=False), False, True, "tools"),
        (record(other=GOOD, tools=False), False, False, "tools"),
        (record(BROKEN, BROKEN, tools=True), True, False, "tools"),
        (record(Answer(1, True), Answer(2, True), tools=False), False, True, "tools"),
    ],
)
def test_what_settles_it(found: Record, solved: bool, other_solved: bool, by: str) -> None:
    pair = found.pair()
    assert pair is not None
    assert (pair.solved, pair.other_solved, pair.settled_by) == (solved, other_solved, by)


@pytest.mark.parametrize("other", [GOOD, OTHER])
def test_feedback_comes_first(other: Answer) -> None:
    kept = Records()
    kept.add("a1", record(other=other, tools=True))
    assert kept.give_feedback("a1", "alice", False, None)
    (pair,) = kept.pairs()["alice"]
    assert (pair.solved, pair.other_solved, pair.settled_by) == (False, other is OTHER, "feedback")
    assert kept.give_feedback("a1", "alice", True, False)
    (pair,) = kept.pairs()["alice"]
    assert (pair.solved, pair.other_solved) == (True, False)


def test_feedback_of_another_key_is_none() -> None:
    kept = Records()
    kept.add("a1", record())
    assert [kept.give_feedback("a1", key, False, None) for key in ("mallory", None)] == [False, False]
    assert not kept.give_feedback("a2", "alice", False, None)
    assert kept.pairs()["alice"][0].solved


def test_an_audit_that_has_not_ended_counts_for_nothing() -> None:
    kept, open_one = Records(), record(other=None)
    kept.add("a1", open_one)
    assert kept.pairs() == {}
    kept.audited(open_one, OTHER)
    assert len(kept.pairs()["alice"]) == 1


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 2)
    kept = Records()
    for number in range(3):
        kept.add(f"a{number}", record(Answer(number, True)))
    assert [pair.tokens for pair in kept.pairs()["alice"]] == [1, 2]
