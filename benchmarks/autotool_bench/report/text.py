"""Format numbers for the terminal and the page."""

import math
from collections.abc import Sequence

from autotool_core.intervals import Interval

NOT_REPORTED = "not reported"
NONE_SOLVED = "no task solved"
TO = "\N{EN DASH}"
RUN_LENGTH = 28
"""Characters of a run's label where there are several runs."""


def percent(share: float | None) -> str:
    """Format a share: 0.6243 → 62.4 %."""
    return NOT_REPORTED if share is None else f"{100 * share:.1f} %"


def percent_range(interval: Interval) -> str:
    """Format the bounds of a share's interval in per cent, without the sign."""
    return f"{100 * interval.low:.1f}{TO}{100 * interval.high:.1f}"


def points(difference: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def points_range(interval: Interval) -> str:
    """Format the bounds of a difference of shares."""
    return f"{points(interval.low)} to {points(interval.high)}"


def tokens(count: float | None) -> str:
    """Format tokens: one decimal below 100, commas between thousands."""
    return NOT_REPORTED if count is None else f"{count:,.{1 if count < 100 else 0}f}"


def cost(count: float) -> str:
    """Format the token cost per solved task."""
    return NONE_SOLVED if math.isinf(count) else tokens(count)


def range_of(interval: Interval) -> str:
    """Format the bounds of a number of tokens."""
    return f"{tokens(interval.low)}{TO}{_bound(interval.high)}"


def _bound(high: float) -> str:
    return "∞" if math.isinf(high) else tokens(high)


def factor(value: float | None) -> str:
    """Format a ratio of tokens."""
    return "n/a" if value is None else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def factor_range(interval: Interval) -> str:
    """Format the bounds of a ratio."""
    return f"{interval.low:.2f}{TO}{'∞' if math.isinf(interval.high) else f'{interval.high:.2f}'}"


def acu(value: float | None) -> str:
    """Format ACU to three significant digits; None stands for a model of unknown size."""
    return "no size" if value is None else f"{value:.3g}"


def p_value(value: float) -> str:
    """Format a p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds(value: float) -> str:
    """Format seconds: two decimals below 10, else one."""
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def counted(number: int, noun: str) -> str:
    """Format a number of things: 1 item, 1,200 items."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(label: str, length: int = 40) -> str:
    """Shorten a label and replace its unprintable characters, so that a drawing can hold it."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in label)
    return printable if len(printable) <= length else printable[: length - 1] + "…"


def short_names(labels: Sequence[str], length: int) -> list[str]:
    """Shorten labels in their middle, where names rarely differ, and number those that become equal."""
    names: list[str] = []
    for label in labels:
        name = _middle(short(label, len(label)), length)
        numbered = (f"{_middle(name, length - 3)} #{number}" for number in range(2, len(labels) + 1))
        names.append(name if name not in names else next(other for other in numbered if other not in names))
    return names


def _middle(label: str, length: int) -> str:
    if len(label) <= length:
        return label
    head = length // 2
    return f"{label[:head]}…{label[head + 1 - length :]}"


def cut(part: str, length: int | None) -> str:
    """Cut a text to a length, None for any, and say how much is left out.

    Half of a surrogate pair, which no terminal takes, becomes a question mark.
    """
    part = part.encode(errors="replace").decode()
    if length is None or len(part) <= length:
        return part
    return f"{part[:length]}… ({len(part) - length:,} more characters)"
