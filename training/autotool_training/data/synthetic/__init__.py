"""Requests written by rule for the tools that Seal-Tools describes (`seal_tools_apis.jsonl`), each with its calls.

A tool gives requests for one call, for several calls of it (or for one, where it takes a list), for calls of it and of another
tool of its field, for a call that takes two turns to ask for or follows on a request that was refused, for calls of it with
parameters that tools in general have (`extras`), and requests that are refused because all tools offered are for something else
in its field. Values come from the examples in a parameter's description, or by its name; every one stands in the request as it
is, but for those of one parameter of some tools (`retold`). A tool one of whose required parameters has no plausible value
gives nothing. The tools are also those of Seal-Tools' out-of-domain test: a model that has practised here has
not seen its requests, but its tools.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.distractors import REFUSALS, could_serve, refused
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.rows import Bad, Row, each, read
from autotool_training.data.sources.tools import Tool
from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.kinds import words
from autotool_training.data.synthetic.requests import Request, asked_back, one, pair, several

NAME, LICENCE = "seal_apis", "Apache-2.0"
NEAR = 0.12
"""Share of the requests that are made again with only other tools of their field, none of which is for them."""
Fields = Mapping[str, Sequence[Api]]
"""The tools that can be asked for, by their field and by the first part of it."""


def load(location: str, seed: int = 0) -> Iterator[Record | Bad]:
    """Some fourteen records a tool that can be asked for."""
    fields: dict[str, list[Api]] = defaultdict(list)
    for api in _apis(location):
        if api.askable(random.Random(api.name)):  # noqa: S311 not a secret
            fields[api.field].append(api)
            fields[_part(api)].append(api)
    return each(read(location), lambda row: _records(row, fields, seed))


def pool(location: str) -> Iterator[Tool]:
    """Every tool that is described."""
    return (api.tool for api in _apis(location))


def _apis(location: str) -> Iterator[Api]:
    for row in (row for row in read(location) if isinstance(row, Row)):
        try:
            yield Api(row.value)
        except (AttributeError, LookupError, TypeError, ValueError):
            continue  # `each` tells of it


def _part(api: Api) -> str:
    return api.field.split("/")[0] + "/"


def _records(row: Row, fields: Fields, seed: int) -> Iterator[Record]:
    api = Api(row.value)
    draw = random.Random(f"{seed}/{api.name}")  # noqa: S311 not a secret
    seen: set[str] = set()
    for number, request in enumerate(_requests(api, fields, draw) if api.askable(draw) else ()):
        record = _record(request, f"{row.id}/{seed}-{number}-{request.kind}")
        if request.text not in seen and request.holds() and not _wrongly_refused(record):
            seen.add(request.text)
            yield record
            if draw.random() < NEAR and not request.before:
                yield from _refused(record, _near(api, fields), draw)


def _requests(api: Api, fields: Fields, draw: random.Random) -> Sequence[Request]:
    others = _near(api, fields)
    made = [one(api, draw) for _ in range(3 if api.properties else 1)]
    made += [several(api, draw) for _ in range(3)]
    made += [pair(api, draw.choice(others), draw) for _ in range(2 if others else 0)]
    made += [asked_back(api, draw), *_wider(api, draw), *_retold(api, draw)]
    made += [_afresh(api, draw.choice(others), draw)] if others else []
    return [request for request in made if request]


def _wider(api: Api, draw: random.Random) -> Sequence[Request]:
    made = [one(api.wider(draw), draw), one(api.wider(draw), draw), several(api.wider(draw), draw)]
    return [replace(request, kind="wider") for request in made if request]


def _afresh(api: Api, other: Api, draw: random.Random) -> Request:
    """A request behind one that was refused, as its tool is not offered."""
    before = (one(other, draw).text, draw.choice(REFUSALS))
    return replace(one(api, draw), kind="afresh", before=before)


def _retold(api: Api, draw: random.Random) -> Sequence[Request]:
    other = (api.wider(draw) if draw.random() < 0.5 else api).retold(draw)
    made = [one(other, draw), one(other, draw), several(other, draw)] if other else []
    return [replace(request, kind="retold") for request in made if request]


def _wrongly_refused(record: Record) -> bool:
    """Whether a tool offered could have served the request before this one."""
    first, *answers = record.messages
    asked = record.model_copy(update={"calls": [], "messages": [first]})
    return any(one["content"] in REFUSALS for one in answers) and any(could_serve(tool, asked) for tool in record.tools)


def _refused(record: Record, near: Sequence[Api], draw: random.Random) -> Iterator[Record]:
    """The request where only tools of its field are offered that are for something else, if there are such."""
    said = f"{record.messages[-1]['content']} {' '.join(words(call.name) for call in record.calls)}"
    asked = record.model_copy(update={"calls": [], "messages": [{"role": "user", "content": said}]})
    other = [api.tool for api in near if not could_serve(api.tool, asked)]
    if other:
        made = refused(record, draw.sample(other, min(len(other), draw.choice((1, 1, 2, 3)))), draw)
        yield made.model_copy(update={"id": f"{record.id}-refused"})


def _near(api: Api, fields: Fields) -> Sequence[Api]:
    return _others(api, fields.get(api.field, ())) or _others(api, fields.get(_part(api), ()))


def _others(api: Api, apis: Sequence[Api]) -> Sequence[Api]:
    return [other for other in apis if other.name != api.name]


def _record(request: Request, key: str) -> Record:
    dialogue = Dialogue(NAME, LICENCE, key, [api.tool for api in request.apis])
    for role, text in zip(("user", "assistant"), request.before or (), strict=False):
        dialogue.say(role, text)
    dialogue.say("user", request.text)
    return dialogue.answer(calls=[GoldCall(name=api.name, arguments=dict(api.meant(given))) for api, given in request.calls])
