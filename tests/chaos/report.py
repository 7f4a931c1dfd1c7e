"""What a scenario has shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from chaos import watch
from chaos.crowd import Crowd
from chaos.parts import Part

MEBIBYTE = 2**20


@dataclass
class Sample:
    """What a process holds at a moment."""

    memory: int
    """Resident bytes."""
    descriptors: int

    @classmethod
    def of(cls, part: Part) -> "Sample":
        """Return what a server's own process holds."""
        process = psutil.Process(part.pid)
        return cls(process.memory_info().rss, process.num_fds())


@dataclass
class Report:
    """Figures, by what they are of, and what is not as it should be."""

    rows: dict[str, Any] = field(default_factory=dict[str, Any])
    faults: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    """Examples of what did not go right."""

    def add(self, name: str, value: Any, *, wrong: bool = False) -> None:
        """Add a figure. `wrong`: it is not as it should be."""
        self.rows[name] = value
        if wrong:
            self.faults.append(f"{name}: {value}")

    def add_outcomes(self, crowd: Crowd, count: int) -> None:
        """Add what became of the requests."""
        outcomes = crowd.outcomes
        self.add("requests", f"{count:,}", wrong=crowd.done != count)
        self.add("sent, with those sent again after a refusal", f"{outcomes.total():,}")
        for name in ("right", "left", "refused", "spent", "failed", "cut", "no connection"):
            self.add(name, outcomes[name])
        for name in ("wrong", "stuck"):
            self.add(name, outcomes[name], wrong=outcomes[name] > 0)
        for outcome, examples in crowd.examples.items():
            self.notes.extend(f"{outcome}: {example}" for example in examples)

    def add_watch(self, file: Path, *, name: str = "") -> None:
        """Add how fast a server said that it was alive."""
        self.add(f"{name}`/health/live`, ms: median / p99 / longest", watch.shown(file))

    def table(self) -> str:
        """Return the figures as a table of Markdown, and below it what is not as it should be."""
        lines = ["", "| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in self.rows.items()), ""]
        return "\n".join([*lines, *self.notes, *(f"NOT AS IT SHOULD BE: {fault}" for fault in self.faults)])


async def metrics(part: Part) -> dict[str, float]:
    """Return the server's own metrics: the sum over labels by name, and requests also by status, as `requests 200`."""
    async with aiohttp.ClientSession() as client, client.get(part.url + "/metrics") as answer:
        text = await answer.text()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names = [sample.name]
            if sample.name == "autotool_requests_total":
                names.append(f"requests {sample.labels['status']}")
            for name in names:
                sums[name] = sums.get(name, 0.0) + sample.value
    return sums
