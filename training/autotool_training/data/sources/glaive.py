"""Reads Glaive's tool calls from LLaMA-Factory: ShareGPT turns of human, function_call, observation and gpt."""

from collections.abc import Iterator
from functools import partial

from autotool_training.common.records import Record
from autotool_training.data.sources.messages import read_conversation
from autotool_training.data.sources.rows import RowError, parse_rows, read_rows

NAME, LICENCE = "glaive", "Apache-2.0"


def load_records(location: str, seed: int = 0) -> Iterator[Record | RowError]:
    """Yield a record for every answer, which is a call or text."""
    return parse_rows(read_rows(location), partial(read_conversation, source=NAME, licence=LICENCE))
