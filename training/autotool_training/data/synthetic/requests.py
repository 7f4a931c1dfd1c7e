"""Draws requests with their calls: one call in one or two turns, several calls, one call with a list, or two tools."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import jsonschema

from autotool_training.data.synthetic.api import Api, Arguments
from autotool_training.data.synthetic.frames import as_request, draw_verb, join_tasks, request_for
from autotool_training.data.synthetic.kinds import name_in_words, plural
from autotool_training.data.synthetic.phrases import (
    all_values,
    append_phrase,
    as_modifiers,
    as_sentences,
    call_by_call,
    fill_slots,
    join_list,
    respectively,
)

LIST_SHARE = 0.4
"""The share of the requests with several values of one argument whose tool takes a list."""
RESPECTIVELY_SHARE = 0.4
"""The share of the requests with several values of several arguments that list them argument by argument."""
SINGLE_VALUE_LIST_SHARE = 0.1
"""The share of the requests for one call whose tool takes a list for one of the arguments."""
CLARIFICATIONS = (
    "Sure. Please tell me {w}.",
    "What should I take as {w}?",
    "I can do that. Please give me {w}.",
    "I still need {w}.",
)
"""Questions for the arguments that a request lacks."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the user and its calls."""

    kind: str
    text: str
    calls: Sequence[tuple[Api, Arguments]]
    """The tools and their arguments in surface forms (`Api.canonical_values`)."""
    earlier_turns: tuple[str, str] | None = None
    """The earlier request and its answer."""

    @property
    def apis(self) -> Sequence[Api]:
        return list(dict.fromkeys(api for api, _ in self.calls))

    def is_consistent(self) -> bool:
        """Return whether the text contains all values, and the calls are valid and distinct."""
        canonical_calls = [(api, api.canonical_values(arguments)) for api, arguments in self.calls]
        different = all(call not in canonical_calls[:number] for number, call in enumerate(canonical_calls))
        valid = all(jsonschema.Draft202012Validator(api.schema).is_valid(arguments) for api, arguments in canonical_calls)
        values = [item for _, arguments in self.calls for value in arguments.values() for item in _items(value)]
        text = " ".join((*(self.earlier_turns or ()), self.text))
        return different and valid and all(isinstance(value, bool) or str(value) in text for value in values)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def single_call_request(api: Api, rng: Random) -> Request:
    """Draw a request for one call."""
    arguments = api.draw_arguments(rng)
    object_phrase, remaining_names = fill_slots(api, [arguments], rng, arguments)
    remaining = {name: arguments[name] for name in remaining_names}
    if remaining and rng.random() < 0.2:
        facts_text = as_sentences(api, remaining, rng)
        request = request_for(api, object_phrase, rng)
        text = rng.choice((f"{facts_text} {request}", f"{_with_period(request)} {facts_text}"))
    else:
        text = request_for(api, append_phrase(object_phrase, as_modifiers(api, remaining, rng)), rng)
    listable = _variable_names(api, arguments)
    if listable and not api.paraphrase and rng.random() < SINGLE_VALUE_LIST_SHARE:
        return _list_request(api, rng.choice(listable), [arguments], text)
    return Request("one", text, [(api, arguments)])


def multi_call_request(api: Api, rng: Random) -> Request | None:
    """Draw a request for two to four calls of a tool, or return None if its calls cannot differ."""
    drawn = _varied_arguments(api, rng)
    if drawn is None:
        return None
    varied, arguments_of_calls = drawn
    if rng.random() < 0.25 and len(arguments_of_calls) < 4:
        text = as_request(join_tasks([_task(api, arguments, rng) for arguments in arguments_of_calls], rng), rng)
    else:
        text = request_for(api, _shared_object(api, varied, arguments_of_calls, rng), rng)
        if len(varied) == 1 and not api.paraphrase and rng.random() < LIST_SHARE:
            return _list_request(api, varied[0], arguments_of_calls, text)
    return Request("several", text, [(api, arguments) for arguments in arguments_of_calls])


def _list_request(api: Api, name: str, arguments_of_calls: Sequence[Arguments], text: str) -> Request:
    """Return the same request for one call of a tool that takes all values as a list."""
    list_api = api.with_list_param(name)
    values = {plural(name): [arguments[name] for arguments in arguments_of_calls]}
    common = {key: value for key, value in arguments_of_calls[0].items() if key != name}
    return Request("list", text, [(list_api, {**common, **values})])


def clarification_request(api: Api, rng: Random) -> Request | None:
    """Draw a request for one call whose second turn gives what the first lacks, or return None if that is impossible."""
    arguments = api.draw_arguments(rng)
    withheld = [name for name in api.required if not isinstance(arguments[name], bool)]
    if not withheld:
        return None
    late = {name: arguments[name] for name in rng.sample(withheld, min(len(withheld), rng.choice((1, 1, 2))))}
    early = {name: value for name, value in arguments.items() if name not in late}
    question = rng.choice(CLARIFICATIONS).format(w=f"the {join_list([name_in_words(name) for name in late])}")
    reply = str(*late.values()) if len(late) == 1 and rng.random() < 0.4 else as_sentences(api, late, rng)
    first = as_request(_task(api, early, rng), rng)
    is_leaked = any(str(value) in first for value in late.values())
    return None if is_leaked else Request("back", reply, [(api, arguments)], (first, question))


def two_tool_request(first: Api, second: Api, rng: Random) -> Request:
    """Draw a request for a call of each of two tools, and sometimes for a second call of one of them."""
    apis, calls, tasks = [first, second], [], []
    rng.shuffle(apis)
    twice = rng.random() < 0.35
    for api in apis:
        drawn = _varied_arguments(api, rng, max_calls=2) if twice else None
        twice = twice and drawn is None
        arguments_of_calls = drawn[1] if drawn else [api.draw_arguments(rng)]
        tasks.append(_shared_task(api, *drawn, rng) if drawn else _task(api, arguments_of_calls[0], rng))
        calls += [(api, arguments) for arguments in arguments_of_calls]
    return Request("pair", as_request(join_tasks(tasks, rng), rng), calls)


def _varied_arguments(api: Api, rng: Random, max_calls: int = 4) -> tuple[Sequence[str], Sequence[Arguments]] | None:
    """Draw the arguments of two or more calls. Return the names of the varied arguments, and the arguments of each call."""
    first = api.draw_arguments(rng)
    free = _variable_names(api, first)
    if not free:
        return None
    varied = rng.sample(free, min(len(free), rng.choice((1, 1, 1, 2, 3))))
    arguments_of_calls = [first]
    for _ in range(12):
        changed = api.draw_values(rng, varied)
        if len(arguments_of_calls) < max_calls and all(
            changed[name] != earlier[name] for name in varied for earlier in arguments_of_calls
        ):
            arguments_of_calls.append({**first, **changed})
    number = rng.choice((2, 2, 2, 3, 3, 4))
    return (varied, arguments_of_calls[:number]) if len(arguments_of_calls) > 1 else None


def _variable_names(api: Api, arguments: Arguments) -> Sequence[str]:
    """Return the names of the arguments that can have several values in a request."""
    return [name for name, value in arguments.items() if not isinstance(value, bool) and name not in api.extra_names]


def _shared_task(api: Api, varied: Sequence[str], arguments_of_calls: Sequence[Arguments], rng: Random) -> str:
    object_phrase = _shared_object(api, varied, arguments_of_calls, rng)
    return f"{draw_verb(api, rng)} {object_phrase}"


def _shared_object(api: Api, varied: Sequence[str], arguments_of_calls: Sequence[Arguments], rng: Random) -> str:
    """Return the object of several calls, with their common arguments once."""
    common = {name: value for name, value in arguments_of_calls[0].items() if name not in varied}
    if len(varied) == 1:
        object_phrase, remaining = fill_slots(api, arguments_of_calls, rng, varied)
        if not remaining:
            return append_phrase(object_phrase, as_modifiers(api, common, rng))
    object_phrase, remaining = fill_slots(api, [common], rng, common)
    object_phrase = append_phrase(object_phrase, as_modifiers(api, {name: common[name] for name in remaining}, rng))
    if len(varied) == 1 and rng.random() < 0.6:
        return append_phrase(
            object_phrase, all_values(api, varied[0], [arguments[varied[0]] for arguments in arguments_of_calls], rng)
        )
    if len(varied) > 1 and rng.random() < RESPECTIVELY_SHARE:
        return append_phrase(object_phrase, respectively(api, arguments_of_calls, varied, rng))
    return append_phrase(object_phrase, call_by_call(api, arguments_of_calls, varied, rng))


def _task(api: Api, arguments: Arguments, rng: Random) -> str:
    object_phrase, remaining = fill_slots(api, [arguments], rng, arguments)
    verb = draw_verb(api, rng)
    modifiers = as_modifiers(api, {name: arguments[name] for name in remaining}, rng)
    return f"{verb} {append_phrase(object_phrase, modifiers)}"


def _with_period(text: str) -> str:
    return text if text.endswith((".", "?")) else text + "."
