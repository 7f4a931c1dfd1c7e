"""Loaders of data sets, and what holds for each record that they make."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from autotool_training.common.records import Record
from autotool_training.data.catalog import SOURCES
from autotool_training.data.sources.rows import Bad
from autotool_training.data.sources.tools import parameters


def load(name: str, location: object, seed: int = 0) -> list[Record]:
    """The records of a source; there may be no bad row."""
    found = list(SOURCES[name].load(str(location), seed))
    assert not [one for one in found if isinstance(one, Bad)]
    records = [one for one in found if isinstance(one, Record)]
    for record in records:
        check_record(record, name)
    assert len({record.id for record in records}) == len(records)
    return records


def check_record(record: Record, source: str) -> None:
    """What holds for every record: valid tools, a conversation that OpenAI's API would take, calls of given tools."""
    assert (record.source, record.licence) == (source, SOURCES[source].licence)
    names = [tool["function"]["name"] for tool in record.tools]
    assert len(set(names)) == len(names)
    for tool in record.tools:
        jsonschema.Draft202012Validator.check_schema(parameters(tool))
        assert parameters(tool)["type"] == "object"
    waiting: list[str] = []
    for message in record.messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert waiting == []
        assert isinstance(message["content"], str)
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            waiting.append(call["id"])
    assert waiting == []
    assert record.messages[-1]["role"] in ("user", "tool")


def calls(record: Record) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in record.calls]


def roles(record: Record) -> str:
    return "".join(message["role"][0] for message in record.messages)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
