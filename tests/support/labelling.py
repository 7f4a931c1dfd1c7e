"""Records to label, and a run of the labels."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autotool_training.common import records
from autotool_training.common.records import GoldCall, Record
from autotool_training.label.label import LabelSettings, ModelChoice, label

ADD = {"type": "function", "function": {"name": "add", "description": "", "parameters": {"type": "object", "properties": {}}}}
RIGHT = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
WRONG = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'


def record(name: str, **fields: Any) -> Record:
    made: dict[str, Any] = {
        "id": name,
        "tools": [ADD],
        "messages": [{"role": "user", "content": name}],
        "calls": [GoldCall(name="add", arguments={"a": 1})],
        "source": "graded",
        "licence": "Apache-2.0",
    }
    return Record(**{**made, **fields})


def run(folder: Path, short: str, long: str, **settings: Any) -> tuple[dict[str, Record], dict[str, Any]]:
    given = LabelSettings(**{"k": 2, "max_tokens": 200, **settings})
    quiet = Console(file=StringIO())
    models = ModelChoice(short), ModelChoice(long)
    counts = label(folder / "in.jsonl", folder / "out.jsonl", models[0], models[1], given, skipped=pytest.fail, console=quiet)
    assert json.loads((folder / "out.counts.json").read_text()) == counts.as_dict()
    return {one.id: one for one in records.read(folder / "out.jsonl", strict=True)}, counts.as_dict()["graded"]
