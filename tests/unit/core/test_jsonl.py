"""JSON lines whose writer may be killed."""

from pathlib import Path

import pytest

from autotool_core import jsonl
from autotool_core.errors import AutoToolError


def test_lines_are_read_in_order_and_a_missing_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert [*jsonl.read(path)] == []
    for part in ([1, {"ä": "ö"}], ["\u2028 and \n"]):
        with jsonl.Appender(path) as file:
            for value in part:
                file.write(value)
    assert [*jsonl.read(path)] == [1, {"ä": "ö"}, "\u2028 and \n"]


def test_half_of_a_surrogate_pair_is_read_back(tmp_path: Path) -> None:
    value = {"ä \ud83d": ["\\\ude00 😀"]}
    with jsonl.Appender(tmp_path / "lines.jsonl") as file:
        file.write(value)
    assert [*jsonl.read(tmp_path / "lines.jsonl")] == [value]


@pytest.mark.parametrize("torn", [b'{"a', b'{"a": 1}', b"x" * 200_000, b"\xc3"])
def test_a_half_written_line_is_not_read_and_is_cut_off_by_the_next_writer(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"1\n2\n" + torn)
    assert [*jsonl.read(path)] == [1, 2]
    with jsonl.Appender(path) as file:
        file.write(3)
    assert path.read_bytes() == b"1\n2\n3\n"


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a')
    jsonl.Appender(path).close()
    assert path.read_bytes() == b""


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("1\n{]\n3\n")
    with pytest.raises(AutoToolError, match=r"lines\.jsonl, line 2 is no JSON"):
        list(jsonl.read(path))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def write_and_fail() -> None:
        with jsonl.atomic_write(path) as part:
            part.write_text("ne")
            raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        write_and_fail()
    assert path.read_text() == "old"
    with jsonl.atomic_write(path) as part, jsonl.Appender(part) as lines:
        lines.write("new")
    assert path.read_text() == '"new"\n'
    assert [*tmp_path.iterdir()] == [path]
