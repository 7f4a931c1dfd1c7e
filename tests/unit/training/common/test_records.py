"""An invalid record is one line that is named and skipped, or that ends the run."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.training import records as made

from autotool_core.errors import AutoToolError
from autotool_training.common import records

GOOD = made(1)[0].model_dump(exclude_none=True)


def file(folder: Path, *lines: bytes) -> Path:
    path = folder / "in.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def bad(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (bad(messages=[{"content": "hi"}]), 'messages: .*each with "role" and "content"'),
        (bad(messages=[]), "messages: .*at least one message"),
        (bad(tools=[{"name": "f"}]), "tools: .*write each tool as"),
        (bad(label="long", reasoning=" "), "a record of label long needs reasoning"),
        (bad(level="high"), "level"),
        (b'{"id": "a", "source": "\xff"}', "JSON"),
        (b"{", "JSON"),
    ],
)
def test_an_invalid_record_costs_no_other(tmp_path: Path, line: bytes, sentence: str) -> None:
    path, sentences = file(tmp_path, bad(), line, bad(id="2")), list[str]()
    assert [one.id for one in records.read(path, skipped=sentences.append)] == [GOOD["id"], "2"]
    (reported,) = sentences
    assert reported.startswith(f"{path}, line 2: ")
    with pytest.raises(AutoToolError, match=rf"in\.jsonl, line 2: .*{sentence}"):
        list(records.read(path, strict=True))


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    some = made(3)
    assert records.write(tmp_path / "new" / "out.jsonl", some) == 3
    assert list(records.read(tmp_path / "new" / "out.jsonl", strict=True)) == some
