"""A catalog of the data sets that training can read, by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data import synthetic
from autotool_training.data.sources import (
    glaive,
    graded,
    graded_free,
    hermes,
    messages,
    reason_tool_use,
    seal_tools,
    sgd,
    toolace,
    toolrl,
    xlam,
)
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import Tool


@dataclass(frozen=True, slots=True)
class Source:
    """A data set and its loaders."""

    load_records: Callable[[str, int], Iterator[Record | RowError]]
    """Loads its records from a location, with a seed."""
    licence: str
    hub: str | None = None
    """Its id on the Hugging Face hub, which is the default location."""
    load_tools: Callable[[str], Iterator[Tool]] | None = None
    """Loads its tools, if they are described apart from its rows."""


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        toolace.NAME: Source(toolace.load_records, toolace.LICENCE, toolace.HUB),
        xlam.NAME: Source(xlam.load_records, xlam.LICENCE, xlam.HUB),
        hermes.NAME: Source(hermes.load_records, hermes.LICENCE, hermes.HUB),
        toolrl.NAME: Source(toolrl.load_records, toolrl.LICENCE),
        reason_tool_use.NAME: Source(reason_tool_use.load_records, reason_tool_use.LICENCE),
        seal_tools.NAME: Source(seal_tools.load_records, seal_tools.LICENCE, load_tools=seal_tools.load_tools),
        synthetic.NAME: Source(synthetic.load_records, synthetic.LICENCE, load_tools=synthetic.load_tools),
        glaive.NAME: Source(glaive.load_records, glaive.LICENCE),
        sgd.NAME: Source(sgd.load_records, sgd.LICENCE),
        messages.NAME: Source(messages.load_records, messages.LICENCE),
        graded.NAME: Source(graded.load_records, graded.LICENCE),
        graded_free.NAME: Source(graded_free.load_records, graded_free.LICENCE),
    }
)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A data set and its location, as given by `--source`."""

    name: str
    location: str

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    @property
    def counted_as(self) -> str:
        """Return the name of the data set in records and counts, which for `messages` is that of the file."""
        return messages.source_name(self.location) if self.name == messages.NAME else self.name

    @classmethod
    def parse(cls, text: str) -> "SourceSpec":
        """Parse `name=location`, or `name` for a data set on the hub. Raises AutoToolError."""
        name, _, location = text.partition("=")
        if name not in SOURCES:
            raise AutoToolError(f"--source {name}: use {', '.join(SOURCES)}.")
        location = location or SOURCES[name].hub or ""
        if not location:
            raise AutoToolError(f"--source {name}: add its location, as in {name}=FILE.")
        return cls(name, location)
