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

MENDS = {
    "calls without results": "write the result of each call before this message",
    "results that match no calls": "write one result for each call of the answer before, with its id",
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
    """The id of the call that a result belongs to; None for the order of the calls."""


def read_turns(turns: Iterable[Turn], dialogue: Dialogue, *, checked: bool = False) -> Iterator[Record | FieldError]:
    """Yield a record for every answer that is trained, with the turns before it as history.

    With `checked` an answer that `quality.check` would drop is a FieldError, which is yielded; an answer before the first
    request, such as a greeting, is history alone. Raises FieldError for a turn that does not fit those before it.
    """
    called: tuple[str | None, ...] = ()
    is_asked = False
    for role, group in groupby(turns, key=lambda turn: turn.role):
        if role == "tool":
            _add_results(dialogue, list(group), called)
        elif role == "assistant":
            for turn in _joined(group):
                if checked and not is_asked and not turn.calls:
                    dialogue.add_greeting(turn.text)
                    continue
                called = turn.call_ids
                record = _add_answer(dialogue, turn)
                if turn.is_trained:
                    fault = check(record).fault if checked else None
                    yield FieldError(turn.field, fault, MENDS.get(fault, "")) if fault else record
        else:
            is_asked = is_asked or role == "user"
            for turn in group:
                with _at(turn.field):
                    dialogue.add_message(role, turn.text)


def _joined(answers: Iterable[Turn]) -> Iterator[Turn]:
    """Yield answers in a row as one, as text and the call after it. A call ends one, for its results have to follow."""
    text: Turn | None = None
    fault: FieldError | None = None
    try:
        for turn in answers:
            text = turn if text is None else _both(text, turn)
            if text.calls:
                yield text
                text = None
    except FieldError as error:
        # What was read before the faulty turn is kept.
        fault = error
    if text is not None:
        yield text
    if fault is not None:
        raise fault


def _both(first: Turn, second: Turn) -> Turn:
    return replace(
        second,
        text="\n".join(part for part in (first.text, second.text) if part),
        reasoning="\n".join(part for part in (first.reasoning, second.reasoning) if part) or None,
        is_trained=first.is_trained and second.is_trained,
    )


def _add_answer(dialogue: Dialogue, turn: Turn) -> Record:
    with _at(turn.field):
        return dialogue.add_answer(content=turn.text, calls=turn.calls, reasoning=turn.reasoning)


def _add_results(dialogue: Dialogue, results: Sequence[Turn], called: Sequence[str | None]) -> None:
    with _at(results[0].field):
        if len(results) == 1 and results[0].result_of is None:
            # ShareGPT has the results of several calls in one turn.
            dialogue.add_result(results[0].text)
        else:
            dialogue.add_results([turn.text for turn in _in_order(results, called)])


def _in_order(results: Sequence[Turn], called: Sequence[str | None]) -> Sequence[Turn]:
    """Return the results in the order of the calls; as they are if results or calls have no ids."""
    ids = [turn.result_of for turn in results]
    if None in ids or None in called:
        return results
    if sorted(map(str, ids)) != sorted(map(str, called)):
        raise MalformedError("results that match no calls")
    places = [str(name) for name in called]
    return sorted(results, key=lambda turn: places.index(str(turn.result_of)))


@contextmanager
def _at(field: str) -> Iterator[None]:
    """Name the field of a fault."""
    try:
        yield
    except FieldError:
        raise
    except MalformedError as error:
        raise FieldError(field, str(error), MENDS.get(str(error), "")) from None
