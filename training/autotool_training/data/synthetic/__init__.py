"""Generates requests by rule for the tools that Seal-Tools describes (`seal_tools_apis.jsonl`), each with its calls.

Each tool gives requests for one call, for several calls (or for one call with a list), and for calls of this tool and another
tool of its domain. Other requests need a clarification, follow a refused request, use additional parameters (`extras`), or are
refused because all offered tools of the domain serve something else. Values come from the examples in a parameter's
description or from its name. The request contains every value literally, except paraphrased ones (`paraphrases`). A tool
without plausible values for its required parameters gives no requests. Seal-Tools' out-of-domain test uses the same tools: a
model trained on these records has seen the tools, but not the requests of that test.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from autotool_training.common.records import GoldCall, Record
from autotool_training.data.distractors import REFUSALS, as_refusal, could_serve
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.rows import RowError, SourceRow, parse_rows, read_rows
from autotool_training.data.sources.tools import Tool
from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.kinds import name_in_words
from autotool_training.data.synthetic.requests import (
    Request,
    clarification_request,
    multi_call_request,
    single_call_request,
    two_tool_request,
)

NAME, LICENCE = "seal_apis", "Apache-2.0"
REFUSAL_SHARE = 0.12
"""The share of the requests that are repeated with only unsuitable tools of their domain."""
ApisByField = Mapping[str, Sequence[Api]]
"""The tools with values, by their field and by the first part of the field."""


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield about fourteen records per tool with values."""
    fields: dict[str, list[Api]] = defaultdict(list)
    for api in _apis(location):
        if api.has_values(random.Random(api.name)):  # noqa: S311 not a secret
            fields[api.field].append(api)
            fields[_top_level_field(api)].append(api)
    return parse_rows(read_rows(location), lambda row: _records(row, fields, seed))


def load_tools(location: str) -> Iterator[Tool]:
    """Yield every described tool."""
    return (api.tool for api in _apis(location))


def _apis(location: str) -> Iterator[Api]:
    for row in (row for row in read_rows(location) if isinstance(row, SourceRow)):
        try:
            yield Api(row.value)
        except (AttributeError, LookupError, TypeError, ValueError):
            continue  # `parse_rows` reports this row.


def _top_level_field(api: Api) -> str:
    return api.field.split("/")[0] + "/"


def _records(row: SourceRow, fields: ApisByField, seed: int) -> Iterator[Record]:
    api = Api(row.value)
    rng = random.Random(f"{seed}/{api.name}")  # noqa: S311 not a secret
    seen: set[str] = set()
    for number, request in enumerate(_requests(api, fields, rng) if api.has_values(rng) else ()):
        record = _record(request, f"{row.id}/{seed}-{number}-{request.kind}")
        if request.text not in seen and request.is_consistent() and not _is_wrongly_refused(record):
            seen.add(request.text)
            yield record
            if rng.random() < REFUSAL_SHARE and not request.earlier_turns:
                yield from _refusal(record, _same_domain(api, fields), rng)


def _requests(api: Api, fields: ApisByField, rng: random.Random) -> Sequence[Request]:
    others = _same_domain(api, fields)
    requests = [single_call_request(api, rng) for _ in range(3 if api.properties else 1)]
    requests += [multi_call_request(api, rng) for _ in range(3)]
    requests += [two_tool_request(api, rng.choice(others), rng) for _ in range(2 if others else 0)]
    requests += [clarification_request(api, rng), *_extra_param_requests(api, rng), *_paraphrased_requests(api, rng)]
    requests += [_request_after_refusal(api, rng.choice(others), rng)] if others else []
    return [request for request in requests if request]


def _extra_param_requests(api: Api, rng: random.Random) -> Sequence[Request]:
    requests = [
        single_call_request(api.with_extra_params(rng), rng),
        single_call_request(api.with_extra_params(rng), rng),
        multi_call_request(api.with_extra_params(rng), rng),
    ]
    return [replace(request, kind="wider") for request in requests if request]


def _request_after_refusal(api: Api, other: Api, rng: random.Random) -> Request:
    """Return a request that follows a refused one, whose tool is not offered."""
    earlier_turns = (single_call_request(other, rng).text, rng.choice(REFUSALS))
    return replace(single_call_request(api, rng), kind="afresh", earlier_turns=earlier_turns)


def _paraphrased_requests(api: Api, rng: random.Random) -> Sequence[Request]:
    paraphrased = (api.with_extra_params(rng) if rng.random() < 0.5 else api).with_paraphrase(rng)
    requests = (
        [single_call_request(paraphrased, rng), single_call_request(paraphrased, rng), multi_call_request(paraphrased, rng)]
        if paraphrased
        else []
    )
    return [replace(request, kind="retold") for request in requests if request]


def _is_wrongly_refused(record: Record) -> bool:
    """Return whether an offered tool could have served the earlier, refused request."""
    first, *answers = record.messages
    unanswered = record.model_copy(update={"calls": [], "messages": [first]})
    return any(message["content"] in REFUSALS for message in answers) and any(
        could_serve(tool, unanswered) for tool in record.tools
    )


def _refusal(record: Record, same_domain: Sequence[Api], rng: random.Random) -> Iterator[Record]:
    """Yield a refusal of the request, with only unsuitable tools of its domain, if there are any."""
    text = f"{record.messages[-1]['content']} {' '.join(name_in_words(call.name) for call in record.calls)}"
    unanswered = record.model_copy(update={"calls": [], "messages": [{"role": "user", "content": text}]})
    unrelated = [api.tool for api in same_domain if not could_serve(api.tool, unanswered)]
    if unrelated:
        refusal = as_refusal(record, rng.sample(unrelated, min(len(unrelated), rng.choice((1, 1, 2, 3)))), rng)
        yield refusal.model_copy(update={"id": f"{record.id}-refused"})


def _same_domain(api: Api, fields: ApisByField) -> Sequence[Api]:
    return _others(api, fields.get(api.field, ())) or _others(api, fields.get(_top_level_field(api), ()))


def _others(api: Api, apis: Sequence[Api]) -> Sequence[Api]:
    return [other for other in apis if other.name != api.name]


def _record(request: Request, key: str) -> Record:
    dialogue = Dialogue(NAME, LICENCE, key, [api.tool for api in request.apis])
    for role, text in zip(("user", "assistant"), request.earlier_turns or (), strict=False):
        dialogue.add_message(role, text)
    dialogue.add_message("user", request.text)
    return dialogue.add_answer(
        calls=[GoldCall(name=api.name, arguments=dict(api.canonical_values(given))) for api, given in request.calls]
    )
