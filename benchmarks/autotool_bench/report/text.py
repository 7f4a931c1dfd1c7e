"""Numbers as people read them, the same in the terminal and on the page."""

import math

from autotool_bench.report.intervals import Interval

NOT_TOLD = "not told"
NONE_SOLVED = "no task solved"
TO = "\N{EN DASH}"


def percent(share: float | None) -> str:
    """0.6243 → 62.4 %."""
    return NOT_TOLD if share is None else f"{100 * share:.1f} %"


def percent_range(interval: Interval) -> str:
    """The bounds of a share's interval, without the sign."""
    return f"{100 * interval.low:.1f}{TO}{100 * interval.high:.1f}"


def points(difference: float) -> str:
    """A difference of shares, in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def points_range(interval: Interval) -> str:
    """The bounds of a difference of shares."""
    return f"{points(interval.low)} to {points(interval.high)}"


def tokens(count: float | None) -> str:
    """Tokens: one decimal below 100, thousands set apart."""
    return NOT_TOLD if count is None else f"{count:,.{1 if count < 100 else 0}f}"


def cost(count: float) -> str:
    """Token cost per solved task."""
    return NONE_SOLVED if math.isinf(count) else tokens(count)


def range_of(interval: Interval) -> str:
    """The bounds of a token figure."""
    return f"{tokens(interval.low)}{TO}{_bound(interval.high)}"


def _bound(high: float) -> str:
    return "∞" if math.isinf(high) else tokens(high)


def factor(value: float | None) -> str:
    """A ratio of tokens."""
    return "n/a" if value is None else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def factor_range(interval: Interval) -> str:
    """The bounds of a ratio."""
    return f"{interval.low:.2f}{TO}{'∞' if math.isinf(interval.high) else f'{interval.high:.2f}'}"


def acu(value: float | None) -> str:
    """To three significant digits; None where the model's size was not told."""
    return "no size" if value is None else f"{value:.3g}"


def p_value(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds(value: float) -> str:
    """Seconds, to what matters."""
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def short(label: str, length: int = 40) -> str:
    """A label of bounded length in printable characters: what a drawing can hold."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in label)
    return printable if len(printable) <= length else printable[: length - 1] + "…"
