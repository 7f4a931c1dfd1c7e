"""The data sets that training can read, by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data import synthetic
from autotool_training.data.sources import glaive, graded, hermes, reason_tool_use, seal_tools, sgd, toolace, toolrl, xlam
from autotool_training.data.sources.rows import Bad
from autotool_training.data.sources.tools import Tool


@dataclass(frozen=True, slots=True)
class Source:
    """A data set."""

    load: Callable[[str, int], Iterator[Record | Bad]]
    """Its records, of a location and a seed."""
    licence: str
    hub: str | None = None
    """Its id on the Hugging Face hub: its location where none is given."""
    pool: Callable[[str], Iterator[Tool]] | None = None
    """Its tools, where they are told apart from its rows."""


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        toolace.NAME: Source(toolace.load, toolace.LICENCE, toolace.HUB),
        xlam.NAME: Source(xlam.load, xlam.LICENCE, xlam.HUB),
        hermes.NAME: Source(hermes.load, hermes.LICENCE, hermes.HUB),
        toolrl.NAME: Source(toolrl.load, toolrl.LICENCE),
        reason_tool_use.NAME: Source(reason_tool_use.load, reason_tool_use.LICENCE),
        seal_tools.NAME: Source(seal_tools.load, seal_tools.LICENCE, pool=seal_tools.pool),
        synthetic.NAME: Source(synthetic.load, synthetic.LICENCE, pool=synthetic.pool),
        glaive.NAME: Source(glaive.load, glaive.LICENCE),
        sgd.NAME: Source(sgd.load, sgd.LICENCE),
        graded.NAME: Source(graded.load, graded.LICENCE),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """A data set and where it is."""

    name: str
    location: str

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read `name=location`, or `name` for a data set that the hub has. Raises AutoToolError."""
        name, _, location = text.partition("=")
        if name not in SOURCES:
            raise AutoToolError(f"--source {name}: use {', '.join(SOURCES)}.")
        location = location or SOURCES[name].hub or ""
        if not location:
            raise AutoToolError(f"--source {name}: say where it is, as in {name}=FILE.")
        return cls(name, location)
