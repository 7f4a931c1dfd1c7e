"""Counts of the kept and dropped records, by source and reason, as a table and as JSON."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

_Tally = defaultdict[str, Counter[str]]


def _tally() -> _Tally:
    return defaultdict(Counter)


@dataclass(slots=True)
class Counts:
    """Counts of records by source, and then by kind or reason."""

    title: str
    seen: Counter[str] = field(default_factory=Counter[str])
    """The records that were made or read, by source."""
    kept: _Tally = field(default_factory=_tally)
    """The kept records, by source and kind."""
    dropped: _Tally = field(default_factory=_tally)
    """The dropped records, by source and reason. A faulty row counts as the answers that are lost with it, and at least as one,
    here and in `seen`."""
    notes: _Tally = field(default_factory=_tally)
    """Other counts, which are no drops, by source and note."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by source, and their sum as `total`."""
        by_source = {source: self._summed((source,)) for source in self.seen}
        return {**by_source, "total": self._summed(tuple(self.seen))}

    def write(self, path: Path) -> None:
        """Write `as_dict` to a JSON file."""
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """Return a table with a column per source and a row per reason."""
        columns = [(source,) for source in self.seen]
        columns += [tuple(self.seen)] if len(columns) > 1 else []
        table = Table("", title=self.title)
        for column in columns:
            table.add_column(column[0] if len(column) == 1 else "total", justify="right")
        table.add_row("records", *(str(sum(self.seen[source] for source in column)) for column in columns))
        for name, tally in (("kept", self.kept), ("dropped", self.dropped), ("note", self.notes)):
            table.add_section()
            for reason in dict.fromkeys(key for counter in tally.values() for key in counter):
                numbers = [sum(tally[source][reason] for source in column) for column in columns]
                table.add_row(f"{name}: {reason}", *(str(number or "") for number in numbers))
        return table

    def _summed(self, sources: tuple[str, ...]) -> dict[str, Any]:
        parts = {"kept": self.kept, "dropped": self.dropped, "notes": self.notes}
        summed = {name: sum((tally[source] for source in sources), Counter[str]()) for name, tally in parts.items()}
        return {
            "records": sum(self.seen[source] for source in sources),
            **{name: dict(counter) for name, counter in summed.items()},
        }
