"""Read a finished run: its rows as columns of numbers, so that 100,000 rows take some tens of megabytes."""

import json
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotool_bench import rows
from autotool_core.errors import AutoToolError
from autotool_core.intervals import Floats, Ints

Bools = NDArray[np.bool_]

NUMBERS = (
    *("mode", "category", "id", "message", "solved"),
    *("turns", "reported_turns", "long_turns", "thoughts", "cut_thoughts"),
    *("prompt", "cached", "generated", "reasoning", "content"),
    *("latency", "p_long", "cut_limit"),
)
"""Names of the columns, in the order of a row's numbers. `reported_turns` are those whose resolved mode is known.
`thoughts` are the turns in long of which the server says whether a limit cut the reasoning, `cut_limit` is the largest such
limit (NaN: none is known)."""
MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Items:
    """Rows as columns of shape (rows,). A number that the server does not report is NaN."""

    modes: tuple[str, ...]
    categories: tuple[str, ...]
    ids: tuple[str, ...]
    messages: tuple[str, ...]
    """Distinct error messages."""
    columns: Mapping[str, Floats] = field(repr=False)
    """Columns by the names of NUMBERS. Token counts and latency (s) are sums over the turns; p_long is the first turn's."""

    def codes(self, name: str) -> Ints:
        """Return indices into `modes`, `categories`, `ids` or `messages` (-1: no error), (rows,)."""
        return self.columns[name].astype(np.intp)

    @cached_property
    def index(self) -> Ints:
        """The row of each mode and item, (modes, ids); -1 if the item was not attempted in the mode."""
        index = np.full((len(self.modes), len(self.ids)), -1, dtype=np.intp)
        index[self.codes("mode"), self.codes("id")] = np.arange(len(self.columns["mode"]))
        return index

    def rows_of(self, mode: str) -> Ints:
        """Return the rows of a mode, (rows of the mode,)."""
        return np.flatnonzero(self.columns["mode"] == self.modes.index(mode))

    def item_rows(self, mode: str) -> Ints:
        """Return the mode's row of every item, (ids,); -1 for an item without a row."""
        return self.index[self.modes.index(mode)]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as its folder holds it."""

    folder: Path
    label: str
    about: Mapping[str, Any]
    """The content of `run.json`."""
    items: Items
    official: Mapping[str, Any]
    """The content of `official.json`; {} if the run has no official figures."""


def read_run(folder: Path) -> StoredRun:
    """Read a run's folder. Raises AutoToolError if it holds no run, no rows, or rows that cannot be used."""
    about = read_json(folder / "run.json")
    if about is None:
        raise AutoToolError(f"{folder} holds no run.json: name a folder that `autotool bench run --out` wrote.")
    items = collect(rows.read(folder), folder, order=[str(mode) for mode in about.get("modes") or ()])
    return StoredRun(
        folder, str(about.get("label") or folder.resolve().name), about, items, read_json(folder / "official.json") or {}
    )


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file. Raises AutoToolError if the file holds anything else."""
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AutoToolError(
            f"{path} is not valid JSON: remove it and run the benchmark again with the same options."
        ) from error
    if not isinstance(value, dict):
        raise AutoToolError(f"{path} does not hold a JSON object: remove it and run the benchmark again with the same options.")
    return value


def collect(lines: Iterable[Mapping[str, Any]], folder: Path, order: Sequence[str] = ()) -> Items:
    """Convert rows to columns, with the modes in the given order and others after them. Raises AutoToolError as `read_run`."""
    names = {name: _numbering() for name in ("mode", "category", "id", "message")}
    for mode in order:
        names["mode"][mode]
    flat = array("d")
    for number, line in enumerate(lines, 1):
        try:
            flat.extend(_numbers(line, names))
        except (KeyError, TypeError, AttributeError) as error:
            raise AutoToolError(
                f"{folder}, row {number} is not a row of a run: {error!r}. Remove it to run its item again."
            ) from error
    if not flat:
        raise AutoToolError(f"{folder} holds no rows: run the benchmark into it first (`autotool bench run --out`).")
    table = np.frombuffer(flat).reshape(-1, len(NUMBERS)).T
    items = _trimmed(names, {name: table[index] for index, name in enumerate(NUMBERS)})
    _reject_repeated(items, folder)
    return items


def _numbering() -> defaultdict[str, int]:
    """Return a mapping that numbers its keys in the order of their first use."""
    names: defaultdict[str, int] = defaultdict()
    names.default_factory = names.__len__
    return names


def _numbers(row: Mapping[str, Any], names: Mapping[str, Mapping[str, int]]) -> tuple[float, ...]:
    turns = row["turns"]
    resolved = [turn["resolved"] for turn in turns if turn["resolved"] is not None]
    p_long = turns[0]["p_long"] if turns else None
    # Rows of earlier versions do not have it.
    cut = [turn["reasoning_truncated"] for turn in turns if turn["resolved"] == "long" and "reasoning_truncated" in turn]
    limits = [turn.get("max_reasoning_tokens") for turn in turns if turn.get("reasoning_truncated")]
    limits = [limit for limit in limits if limit is not None]
    return (
        *(names[name][str(row[name])] for name in ("mode", "category", "id")),
        -1 if row["error"] is None else names["message"][str(row["error"])[:MESSAGE_LENGTH]],
        row["error"] is None and row["score"] >= 1.0,
        *(len(turns), len(resolved), resolved.count("long"), len(cut) - cut.count(None), cut.count(True)),
        *(_total(turns, f"{kind}_tokens") for kind in ("prompt", "cached", "generated", "reasoning", "content")),
        _total(turns, "latency"),
        math.nan if p_long is None else p_long,
        max(limits, default=math.nan),
    )


def _total(turns: Sequence[Mapping[str, Any]], name: str) -> float:
    values = [turn[name] for turn in turns]
    return math.nan if None in values else sum(values)


def _trimmed(names: Mapping[str, Mapping[str, int]], columns: dict[str, Floats]) -> Items:
    """Return the columns without the modes that have no row yet."""
    used = np.unique(columns["mode"]).astype(int)
    columns["mode"] = np.searchsorted(used, columns["mode"]).astype(float)
    modes = tuple(names["mode"])
    return Items(
        tuple(modes[index] for index in used), tuple(names["category"]), tuple(names["id"]), tuple(names["message"]), columns
    )


def _reject_repeated(items: Items, folder: Path) -> None:
    count = len(items.columns["mode"])
    repeated = np.setdiff1d(np.arange(count), items.index)
    if len(repeated):
        row = repeated[0]
        item, mode = items.ids[items.codes("id")[row]], items.modes[items.codes("mode")[row]]
        raise AutoToolError(f"{folder} holds the item {item!r} twice in the mode {mode!r}: remove one of its rows.")
