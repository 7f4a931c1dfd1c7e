"""Requests and their calls: one call, told in one turn or two; several calls of a tool, or one with a list; of two tools."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import jsonschema

from autotool_training.data.synthetic.api import Api, Arguments
from autotool_training.data.synthetic.frames import asked, chained, framed, verb
from autotool_training.data.synthetic.kinds import plural, words
from autotool_training.data.synthetic.phrases import at_once, facts, filled, in_turn, listed, respectively, said, tailed

LISTING = 0.4
"""Share of the requests with several values of one argument whose tool takes a list of them."""
RESPECTIVELY = 0.4
"""Share of the requests with several values of several arguments that tell them argument by argument."""
LISTING_ONE = 0.1
"""Share of the requests with one value whose tool takes a list for one of the arguments."""
BACK = ("Sure. Please tell me {w}.", "What should I take as {w}?", "I can do that. Please give me {w}.", "I still need {w}.")
"""Questions back for what a request has left out."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user says, and its calls."""

    kind: str
    text: str
    calls: Sequence[tuple[Api, Arguments]]
    """Arguments as they are told (`Api.meant`)."""
    before: tuple[str, str] | None = None
    """What the user has said before, and the answer."""

    @property
    def apis(self) -> Sequence[Api]:
        return list(dict.fromkeys(api for api, _ in self.calls))

    def holds(self) -> bool:
        """Whether all values stand in the text, and the calls are valid and all different."""
        meant = [(api, api.meant(given)) for api, given in self.calls]
        different = all(call not in meant[:number] for number, call in enumerate(meant))
        valid = all(jsonschema.Draft202012Validator(api.schema).is_valid(given) for api, given in meant)
        values = [one for _, given in self.calls for value in given.values() for one in _items(value)]
        text = " ".join((*(self.before or ()), self.text))
        return different and valid and all(isinstance(value, bool) or str(value) in text for value in values)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def one(api: Api, draw: Random) -> Request:
    """A request for one call."""
    arguments = api.chosen(draw)
    rest, left = filled(api, [arguments], draw, arguments)
    still = {name: arguments[name] for name in left}
    if still and draw.random() < 0.2:
        told = facts(api, still, draw)
        request = asked(api, rest, draw)
        text = draw.choice((f"{told} {request}", f"{_ended(request)} {told}"))
    else:
        text = asked(api, tailed(rest, said(api, still, draw)), draw)
    listable = _variable(api, arguments)
    if listable and not api.telling and draw.random() < LISTING_ONE:
        return _listing(api, draw.choice(listable), [arguments], text)
    return Request("one", text, [(api, arguments)])


def several(api: Api, draw: Random) -> Request | None:
    """A request for two to four calls of a tool; None where there are no different ones."""
    found = _different(api, draw)
    if found is None:
        return None
    varied, given = found
    if draw.random() < 0.25 and len(given) < 4:
        text = framed(chained([_wish(api, arguments, draw) for arguments in given], draw), draw)
    else:
        text = asked(api, _shared(api, varied, given, draw), draw)
        if len(varied) == 1 and not api.telling and draw.random() < LISTING:
            return _listing(api, varied[0], given, text)
    return Request("several", text, [(api, arguments) for arguments in given])


def _listing(api: Api, name: str, given: Sequence[Arguments], text: str) -> Request:
    """The same request for one call, of a tool that takes all the values at once."""
    listing = api.listing(name)
    values = {plural(name): [arguments[name] for arguments in given]}
    same = {key: value for key, value in given[0].items() if key != name}
    return Request("list", text, [(listing, {**same, **values})])


def asked_back(api: Api, draw: Random) -> Request | None:
    """A request for one call in two turns, of which the second gives what the first has left out; None where that cannot be."""
    arguments = api.chosen(draw)
    withheld = [name for name in api.needed if not isinstance(arguments[name], bool)]
    if not withheld:
        return None
    late = {name: arguments[name] for name in draw.sample(withheld, min(len(withheld), draw.choice((1, 1, 2))))}
    soon = {name: value for name, value in arguments.items() if name not in late}
    question = draw.choice(BACK).format(w=f"the {listed([words(name) for name in late])}")
    reply = str(*late.values()) if len(late) == 1 and draw.random() < 0.4 else facts(api, late, draw)
    first = framed(_wish(api, soon, draw), draw)
    told = any(str(value) in first for value in late.values())
    return None if told else Request("back", reply, [(api, arguments)], (first, question))


def pair(first: Api, second: Api, draw: Random) -> Request:
    """A request for a call of each of two tools, and maybe one more of one of them."""
    used, calls, wishes = [first, second], [], []
    draw.shuffle(used)
    twice = draw.random() < 0.35
    for api in used:
        found = _different(api, draw, most=2) if twice else None
        twice = twice and found is None
        given = found[1] if found else [api.chosen(draw)]
        wishes.append(_shared_wish(api, *found, draw) if found else _wish(api, given[0], draw))
        calls += [(api, arguments) for arguments in given]
    return Request("pair", framed(chained(wishes, draw), draw), calls)


def _different(api: Api, draw: Random, most: int = 4) -> tuple[Sequence[str], Sequence[Arguments]] | None:
    """The names of the arguments that change from call to call, and the arguments of two calls or more."""
    first = api.chosen(draw)
    free = _variable(api, first)
    if not free:
        return None
    varied = draw.sample(free, min(len(free), draw.choice((1, 1, 1, 2, 3))))
    given = [first]
    for _ in range(12):
        changed = api.arguments(draw, varied)
        if len(given) < most and all(changed[name] != before[name] for name in varied for before in given):
            given.append({**first, **changed})
    number = draw.choice((2, 2, 2, 3, 3, 4))
    return (varied, given[:number]) if len(given) > 1 else None


def _variable(api: Api, given: Arguments) -> Sequence[str]:
    """The names of the arguments of which a request can have several values."""
    return [name for name, value in given.items() if not isinstance(value, bool) and name not in api.more]


def _shared_wish(api: Api, varied: Sequence[str], given: Sequence[Arguments], draw: Random) -> str:
    rest = _shared(api, varied, given, draw)
    return f"{verb(api, draw)} {rest}"


def _shared(api: Api, varied: Sequence[str], given: Sequence[Arguments], draw: Random) -> str:
    """What is wished of several calls, what they share said once."""
    same = {name: value for name, value in given[0].items() if name not in varied}
    if len(varied) == 1:
        rest, left = filled(api, given, draw, varied)
        if not left:
            return tailed(rest, said(api, same, draw))
    rest, left = filled(api, [same], draw, same)
    rest = tailed(rest, said(api, {name: same[name] for name in left}, draw))
    if len(varied) == 1 and draw.random() < 0.6:
        return tailed(rest, at_once(api, varied[0], [arguments[varied[0]] for arguments in given], draw))
    if len(varied) > 1 and draw.random() < RESPECTIVELY:
        return tailed(rest, respectively(api, given, varied, draw))
    return tailed(rest, in_turn(api, given, varied, draw))


def _wish(api: Api, arguments: Arguments, draw: Random) -> str:
    rest, left = filled(api, [arguments], draw, arguments)
    return f"{verb(api, draw)} {tailed(rest, said(api, {name: arguments[name] for name in left}, draw))}"


def _ended(text: str) -> str:
    return text if text.endswith((".", "?")) else text + "."
