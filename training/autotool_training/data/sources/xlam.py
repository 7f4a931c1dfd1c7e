"""xLAM-60k (`Salesforce/xlam-function-calling-60k`, arXiv 2406.18518): a query, its tools and all its calls, as JSON text."""

from collections.abc import Iterator

from autotool_training.common.records import Record
from autotool_training.data.sources.dialogue import Dialogue, gold_call
from autotool_training.data.sources.rows import Bad, Row, each, listing, read
from autotool_training.data.sources.tools import tools

NAME, LICENCE, HUB = "xlam", "CC-BY-4.0", "Salesforce/xlam-function-calling-60k"


def load(location: str = HUB, seed: int = 0) -> Iterator[Record | Bad]:
    """One record a row."""
    return each(read(location), _record)


def _record(row: Row) -> Iterator[Record]:
    calls = [gold_call(call) for call in listing(row.value["answers"])]
    dialogue = Dialogue(NAME, LICENCE, row.id, tools(listing(row.value["tools"]), calls))
    dialogue.say("user", row.value["query"])
    yield dialogue.answer(calls=calls)
