"""Helpers that load sources and check the records that these make."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from autotool_training.common.records import Record
from autotool_training.data.catalog import SOURCES
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import parameters


def load_records(name: str, location: object, seed: int = 0) -> list[Record]:
    """Return the records of a source, and check them. There may be no bad row."""
    results = list(SOURCES[name].load_records(str(location), seed))
    assert not [one for one in results if isinstance(one, RowError)]
    records = [one for one in results if isinstance(one, Record)]
    for record in records:
        check_record(record, name)
    assert len({record.id for record in records}) == len(records)
    return records


def check_record(record: Record, source: str) -> None:
    """Check that a record has valid tools, and a conversation that OpenAI's API would accept."""
    assert (record.source, record.licence) == (source, SOURCES[source].licence)
    names = [tool["function"]["name"] for tool in record.tools]
    assert len(set(names)) == len(names)
    for tool in record.tools:
        jsonschema.Draft202012Validator.check_schema(parameters(tool))
        assert parameters(tool)["type"] == "object"
    pending_calls: list[str] = []
    for message in record.messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == pending_calls.pop(0)
            continue
        assert pending_calls == []
        assert isinstance(message["content"], str)
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            pending_calls.append(call["id"])
    assert pending_calls == []
    assert record.messages[-1]["role"] in ("user", "tool")


def calls(record: Record) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in record.calls]


def roles(record: Record) -> str:
    return "".join(message["role"][0] for message in record.messages)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
