"""Reads Schema-Guided Dialogue (arXiv 1909.05855), reduced to utterances and service calls, with the schemas of SGD-X.

A service's intents become tools. The seed draws one of the schema files (`schema.json`, `schema_x1.json`, ...) for each
dialogue. They list the same services, slots and intents in the same order under other names and descriptions, so that 26
services look like many more.

The calls have absolute dates even if the user says "today". The data's today is 1 March 2019, which a system message states.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.dialogue import Dialogue
from autotool_training.data.sources.rows import RowError, SourceRow, parse_rows, read_rows, sibling
from autotool_training.data.sources.tools import tools

NAME, LICENCE = "sgd", "CC-BY-SA-4.0"
TODAY = "Today is Friday, 1 March 2019. Write dates as YYYY-MM-DD and times as HH:MM."
MAX_RESULTS = 3
"""The maximum number of search results in a tool message. The message also contains their total number."""
ANY = "dontcare"


@dataclass(frozen=True, slots=True)
class _Service:
    """A service of one schema file: its functions, and its names by the names in the first schema file."""

    functions: Sequence[Mapping[str, Any]]
    intents: Mapping[str, str]
    slots: Mapping[str, str]


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every call and every answer in text. `location` is the file of dialogues or its folder."""
    first = sibling(location, "schema.json")
    rows = str(sibling(location, "train.slim.jsonl.gz", "train.slim.jsonl")) if Path(location).is_dir() else location
    plain = _services(first)
    schemas = [_read_schema(path, plain) for path in (first, *sorted(first.parent.glob("schema_x*.json")))]
    return parse_rows(read_rows(rows), lambda row: _records(row, schemas, seed))


def _services(path: Path) -> list[Mapping[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_schema(path: Path, plain: Sequence[Mapping[str, Any]]) -> Mapping[str, _Service]:
    """Return the services of a schema file, by their names in the dialogues."""
    services = _services(path)
    if [len(service["slots"]) for service in services] != [len(service["slots"]) for service in plain]:
        raise AutoToolError(f"{path} does not paraphrase schema.json slot by slot: leave it out of the folder.")
    return {old["service_name"]: _service(old, new) for old, new in zip(plain, services, strict=True)}


def _service(old: Mapping[str, Any], new: Mapping[str, Any]) -> _Service:
    renamed = {
        kind: {old_entry["name"]: new_entry["name"] for old_entry, new_entry in zip(old[kind], new[kind], strict=True)}
        for kind in ("intents", "slots")
    }
    slots = {slot["name"]: slot for slot in new["slots"]}
    return _Service([_function(intent, slots) for intent in new["intents"]], renamed["intents"], renamed["slots"])


def _function(intent: Mapping[str, Any], slots: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    required, optional = intent["required_slots"], intent["optional_slots"]
    schema = {
        "type": "object",
        "properties": {name: _parameter(slots[name]) for name in (*required, *optional)},
        "required": list(required),
    }
    return {"name": intent["name"], "description": intent["description"], "parameters": schema}


def _parameter(slot: Mapping[str, Any]) -> dict[str, Any]:
    values = slot["possible_values"] if slot["is_categorical"] else []
    described = {"description": slot["description"]}
    if sorted(values) == ["False", "True"]:
        return {"type": "boolean", **described}
    if values and all(value.isdecimal() for value in values):
        return {"type": "integer", **described, "enum": [int(value) for value in values]}
    return {"type": "string", **described} | ({"enum": values} if values else {})


def _records(row: SourceRow, schemas: Sequence[Mapping[str, _Service]], seed: int) -> Iterator[Record]:
    value = row.value
    services = random.Random(f"{seed}/{value['dialogue_id']}").choice(schemas)  # noqa: S311 not a secret
    functions = [function for name in value["services"] for function in services[name].functions]
    dialogue = Dialogue(NAME, LICENCE, value["dialogue_id"], tools(functions), is_numbered=True)
    dialogue.add_message("system", TODAY)
    for turn in value["turns"]:
        if turn["speaker"] == "USER":
            dialogue.add_message("user", turn["utterance"])
            continue
        for call in turn.get("calls", ()):
            service = services[call["service"]]
            yield dialogue.add_answer(calls=[_gold(call, service)])
            dialogue.add_result(_results(call["results"], service))
        yield dialogue.add_answer(content=turn["utterance"])


def _gold(call: Mapping[str, Any], service: _Service) -> GoldCall:
    """Return the call in the names of the schema, without the arguments that the user does not care about."""
    arguments = {service.slots[name]: value for name, value in call["parameters"].items() if value != ANY}
    return GoldCall(name=service.intents[call["method"]], arguments=arguments)


def _results(results: Sequence[Mapping[str, Any]], service: _Service) -> str:
    shown = [{service.slots[name]: value for name, value in result.items()} for result in results[:MAX_RESULTS]]
    return json.dumps({"found": len(results), "results": shown}, ensure_ascii=False)
