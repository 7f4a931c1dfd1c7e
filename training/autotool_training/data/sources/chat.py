"""A conversation in the form that all chat data sets are brought into: turns, and a record for each answer among them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.quality import check
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.rows import FieldError, MalformedError

UNMATCHED = "results that match no calls"
MENDS = {
    "calls without results": "write the result of each call before this message",
    UNMATCHED: "write one result for each call of the answer before, with its id",
    "no request": "write what the user asks before this answer",
    "no answer": "write content or calls, or leave the message out",
    "marker in the answer": "write reasoning in reasoning_content and calls in tool_calls",
    "call of a tool that is not offered": "add the tool to the tools, or mend the name",
    "required argument missing": "add it to the call, or take it out of the tool's required",
    "argument that the tool does not have": "take it out of the call, or add it to the tool's properties",
    "argument that is broken JSON": "write the list or object that the tool's schema asks for",
    "placeholder argument": "write the value that the request gives",
}
"""What a user can do about each fault of a conversation."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a conversation."""

    field: str
    """Where its row has it, as in `messages[2]`."""
    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[GoldCall, ...] = ()
    call_ids: tuple[str | None, ...] = ()
    """The ids of the calls, if they have any."""
    reasoning: str | None = None
    is_trained: bool = True
    """Whether an answer becomes a record, or is only history of later ones."""
    result_of: str | None = None
    """The id of the call that a result belongs to, if it has one."""
    name: str | None = None
    """The name of the tool whose result it is, if it is known."""
    may_hold_all: bool = False
    """Whether the text of a result may be a JSON list of those of all calls."""


def read_turns(turns: Iterable[Turn], dialogue: Dialogue, *, checked: bool = False) -> Iterator[Record | FieldError]:
    """Yield a record for every answer that is trained, with the turns before it as history.

    With `checked`, answers before the first request are history alone, and a FieldError is yielded in place of a record that
    `quality.check` would drop. Raises FieldError for a turn that does not fit those before it.
    """
    answer: Turn | None = None
    is_asked = not checked
    for is_result, group in groupby(_joined(turns), key=lambda turn: turn.role == "tool"):
        if is_result:
            _add_results(dialogue, list(group), answer, may_hold_all=not checked)
            continue
        for turn in group:
            is_asked = is_asked or (turn.role == "user" and bool(turn.text.strip()))
            if turn.role == "assistant" and not is_asked:
                _add_greeting(turn, dialogue)
                continue
            with _at(turn.field):
                record = _added(turn, dialogue)
            if record is None:
                continue
            answer = turn
            if turn.is_trained:
                yield (_fault(record, turn.field) if checked else None) or record


def _add_greeting(turn: Turn, dialogue: Dialogue) -> None:
    if turn.calls:
        raise FieldError(turn.field, "no request", MENDS["no request"])
    dialogue.add_greeting(turn.text)


def _added(turn: Turn, dialogue: Dialogue) -> Record | None:
    """Add a turn that is no result, and return the record of an answer."""
    if turn.role == "assistant":
        return dialogue.add_answer(content=turn.text, calls=turn.calls, reasoning=turn.reasoning)
    dialogue.add_message(turn.role, turn.text)
    return None


def _fault(record: Record, field: str) -> FieldError | None:
    fault = check(record).fault
    return FieldError(field, fault, f"{MENDS.get(fault, 'mend it')}, or give it weight 0") if fault else None


def _joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Yield the turns with adjacent ones of the assistant as one, as text and the calls in a message after it.

    A message after calls stays one of its own: the results of these are missing.
    """
    held: Turn | None = None
    try:
        for turn in turns:
            if held and held.role == turn.role == "assistant" and not held.calls:
                held = _both(held, turn)
                continue
            if held:
                yield held
            held = turn
    except FieldError:
        # What precedes a faulty message is not lost with it.
        if held:
            yield held
        raise
    if held:
        yield held


def _both(first: Turn, second: Turn) -> Turn:
    if first.is_trained != second.is_trained:
        mend = "give the same to both messages, which are one answer"
        raise FieldError(f"{second.field}.weight", "not that of the message before it", mend)
    return replace(
        second,
        text="\n".join(filter(None, (first.text, second.text))),
        reasoning="\n".join(filter(None, (first.reasoning, second.reasoning))) or None,
        is_trained=first.is_trained and second.is_trained,
    )


def _add_results(dialogue: Dialogue, results: Sequence[Turn], answer: Turn | None, *, may_hold_all: bool) -> None:
    """Add the results of an answer's calls: a message for each or, where the form has that, one for all of them."""
    first = results[0]
    with _at(first.field):
        if len(results) == 1 and first.result_of is None and (may_hold_all or first.may_hold_all):
            dialogue.add_result(first.text)
        else:
            dialogue.add_results([turn.text for turn in _in_order(results, answer)])


def _in_order(results: Sequence[Turn], answer: Turn | None) -> Sequence[Turn]:
    """Return the results in the order of the calls: by their ids, else by the names of the tools, else as they are.

    Raises FieldError for an id that no call has.
    """
    if answer is None or len(results) != len(answer.calls):
        return results
    ids = [turn.result_of for turn in results]
    if None not in answer.call_ids:
        _reject_other_ids(results, answer.call_ids)
        if None not in ids:
            return _sorted(results, ids, answer.call_ids)
    names, called = [turn.name for turn in results], [call.name for call in answer.calls]
    return _sorted(results, names, called) if sorted(map(str, names)) == sorted(called) else results


def _reject_other_ids(results: Iterable[Turn], called: Iterable[str | None]) -> None:
    left = list(called)
    for turn in results:
        if turn.result_of is None:
            continue
        if turn.result_of not in left:
            raise FieldError(turn.field, UNMATCHED, MENDS[UNMATCHED])
        left.remove(turn.result_of)


def _sorted(results: Sequence[Turn], keys: Sequence[str | None], called: Sequence[str | None]) -> list[Turn]:
    return [turn for _, turn in sorted(zip(keys, results, strict=True), key=lambda pair: called.index(pair[0]))]


@contextmanager
def _at(field: str) -> Iterator[None]:
    """Name the field of a fault."""
    try:
        yield
    except FieldError:
        raise
    except MalformedError as error:
        raise FieldError(field, str(error), MENDS.get(str(error), "")) from None
