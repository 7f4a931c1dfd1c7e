"""Reads `reason_tool_use` from LLaMA-Factory: messages whose content is a list of typed parts, some of them reasoning."""

from collections.abc import Iterator
from functools import partial

from autotool_training.common.records import Record
from autotool_training.data.sources.messages import read_conversation
from autotool_training.data.sources.rows import RowError, parse_rows, read_rows

NAME, LICENCE = "reason_tool_use", "Apache-2.0"


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer, with its reasoning."""
    return parse_rows(read_rows(location), partial(read_conversation, source=NAME, licence=LICENCE))
