"""The configuration of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotool_bench import rows
from autotool_core.modes import ModeSwitch

LOCAL_URL = "http://localhost:8000/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What `autotool_bench.run.execute` runs. The defaults are those of `autotool bench run`."""

    suite: str
    out: Path
    """Folder of the run."""
    url: str = LOCAL_URL
    model: str | None = None
    """None: the server's only model."""
    modes: tuple[str, ...] = ("auto", "long", "short")
    switch: ModeSwitch = ModeSwitch.MODE
    categories: tuple[str, ...] | None = None
    """None: all categories of the suite."""
    directory: Path | None = None
    """Directory of the suite's data, for a suite that reads files."""
    limit: int | None = None
    """Items per category; None: all."""
    seed: int = 0
    """Selects the items of a limited run."""
    concurrency: int = 16
    temperature: float = 0.0
    max_tokens: int = 1024
    max_reasoning_tokens: int | None = None
    timeout: float = 600.0
    """Seconds per answer."""
    parameters: float | None = None
    """Number of parameters of the model, for ACU."""
    label: str | None = None
    """Name of the run in reports; None: the folder's name."""
    api_key: str = "none"
    retry_errors: bool = False
    """Whether items that ended in an error in an earlier start are attempted again."""
    without_relief: bool = False
    """Whether answers that the server's load has made think less are refused, and attempted again by a later start."""

    def retries(self, row: Mapping[str, Any]) -> bool:
        """Return whether the item of a row of an earlier start is attempted again."""
        return (self.retry_errors and row["error"] is not None) or (self.without_relief and rows.is_relieved(row))

    def request_fields(self) -> dict[str, float | int]:
        """Return the fields that every request has, whatever its mode."""
        fields = {
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
            "max_reasoning_tokens": self.max_reasoning_tokens,
        }
        return {name: value for name, value in fields.items() if value is not None}
