"""What `autotool keys` prints: the keys of a file, and what all keys have used."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autotool_server.api.keys.file import Key, read_keys
from autotool_server.state_store.spend import read_use
from autotool_server.state_store.use import Use, UseByMode

ALL = "all"
HEAD = ("key", "period", "mode", "requests", "prompt", "completion", "total", "limit")
NUM_TEXTS = 3
"""Columns of the table that are texts, and the first ones."""


def lines_of_keys(path: Path) -> Iterator[str]:
    """Yield a line for each key of a file, then one about the file. Raises AutoToolError for an invalid one."""
    keys = list(read_keys(path, has_store=True).values())
    yield from map(_line, keys)
    budgeted = [key.name for key in keys if key.has_budget]
    store = f" The server needs --spend-store, for the budgets of {', '.join(budgeted)}." if budgeted else ""
    yield f"{path} is valid: {len(keys)} key{'s' * (len(keys) != 1)}.{store}"


def table_of_use(url: str, path: Path | None) -> str:
    """Return a table of what all keys have used today and this month, by mode.

    `url`: the address of the spend store. `path`: a keys file, whose keys are in the table whatever they have used, with their
    limits. Raises AutoToolError if one of them cannot be read.
    """
    keys = {key.name: key for key in read_keys(path, has_store=True).values()} if path is not None else {}
    used = read_use(url, time.time())
    names = sorted({*keys, *(name for of_period in used.values() for name in of_period)})
    rows = [row for name in names for period, of_period in used.items() for row in _rows(name, period, of_period, keys)]
    return _aligned([HEAD, *rows])


def _line(key: Key) -> str:
    allowed = {"models": key.models, "modes": key.modes, "tools": key.tools}
    parts = [f"{name}={'any' if found is None else ','.join(sorted(found)) or 'none'}" for name, found in allowed.items()]
    limits = key.model_dump(exclude={"name", "hash", *allowed}, exclude_none=True)
    return " ".join([key.name, *parts, *(f"{name}={value}" for name, value in limits.items())])


def _rows(name: str, period: str, used: Mapping[str, UseByMode], keys: Mapping[str, Key]) -> Iterator[Sequence[str]]:
    """Yield a row for each mode that a key has used, and one for all of them."""
    by_mode = used.get(name, {})
    is_month = len(period) == len("2026-11")
    for mode, use in sorted(by_mode.items()):
        yield name, period, mode, *_figures(use), ""
    key = keys.get(name)
    limit = None if key is None else key.tokens_per_month if is_month else key.tokens_per_day
    yield name, period, ALL, *_figures(sum(by_mode.values(), Use())), "" if limit is None else f"{limit:,}"


def _figures(use: Use) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in (use.requests, use.prompt_tokens, use.completion_tokens, use.tokens))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        aligned = [text.ljust(width) if number < NUM_TEXTS else text.rjust(width) for number, (text, width) in enumerate(cells)]
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, rows))
