"""Reads xLAM-60k (`Salesforce/xlam-function-calling-60k`, arXiv 2406.18518): a query, its tools and calls as JSON."""

from collections.abc import Iterator

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import RowError, SourceRow, json_list, parse_rows, read_rows
from autotool_training.data.sources.tools import tools

NAME, LICENCE, HUB = "xlam", "CC-BY-4.0", "Salesforce/xlam-function-calling-60k"


def load_records(location: str = HUB, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield one record per row."""
    return parse_rows(read_rows(location), _record)


def _record(row: SourceRow) -> Iterator[Record]:
    calls = [gold_call(call) for call in json_list(row.value["answers"])]
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(json_list(row.value["tools"]), calls))
    dialogue.add_message("user", row.value["query"])
    yield dialogue.add_answer(calls=calls)
