"""Holds one target: the reasoning bias follows the traffic.

The bias is the sum of two parts. The *fit* is the bias with which the last turns would have met the target. It comes from their
unbiased probabilities, which do not depend on the bias that they were decided with, so that it cannot oscillate, however many
requests are under way. The *trim* adds up what the outcomes still miss, as adaptive conformal inference does (Gibbs and Candès,
arXiv 2106.00170): it settles what the fit cannot, such as greedy decisions of which many are equally probable.
"""

from collections import deque
from dataclasses import dataclass, replace

from autotool_core.decision import probability_of_long
from autotool_core.target import Target

WINDOW = 100
"""The turns that the fit looks back on."""
MIN_TURNS = 20
"""The turns after which the bias begins to move; until then it is that of the dial."""
MAX_STEP = 0.25
"""The largest change of the fit in a turn, in log-odds."""
GAIN = 0.1
"""The change of the trim, in log-odds, for a turn that thinks where none should."""
LEAK = 0.98
"""What is left of the trim after a turn. It forgets what it has added up while the fit followed a change of the traffic."""
REFIT = 5
"""The turns from one fit to the next."""
BOTH = 0.5
"""The thinking rate with which the lengths of both modes are measured."""
MAX_LOG_ODDS = 100.0
"""The bound of log-odds, which says as much as certainty."""
LENGTHS = 0.05
"""The weight of a new answer in the mean lengths of each mode."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of a turn in `auto`."""

    log_odds: float
    """The log-odds of long against short, before the target's bias."""
    temperature: float
    is_long: bool


class Lengths:
    """The mean number of decoded tokens of long, of short and of all answers, weighted towards the latest ones."""

    def __init__(self) -> None:
        self.all: float | None = None
        self._long: float | None = None
        self._short: float | None = None

    def add(self, is_long: bool, tokens: int) -> None:
        """Add an answer that has ended."""
        self.all = _moved(self.all, tokens)
        if is_long:
            self._long = _moved(self._long, tokens)
        else:
            self._short = _moved(self._short, tokens)

    def rate_for(self, tokens: float) -> float | None:
        """Return the share of long answers with which the mean is so many tokens; None before the first answer.

        Where one of the means is not known, or long answers seem to be the shorter ones because none has been seen for long,
        it is a half if more of the other mode could be needed: both lengths are then measured.
        """
        long, short = self._long, self._short
        if long is not None and short is not None and long > short:
            return _clipped((tokens - short) / (long - short), (0.0, 1.0))
        if short is None:
            return None if long is None else 1.0 if long <= tokens else BOTH
        return 0.0 if short >= tokens else BOTH


def _moved(mean: float | None, value: float) -> float:
    return value if mean is None else mean + LENGTHS * (value - mean)


class Controller:
    """Holds a target with a bias within bounds. It is used from one thread."""

    def __init__(self, target: Target, bias: float, bounds: tuple[float, float]) -> None:
        self.target = target
        self._fit = self._wanted = _clipped(bias, bounds)
        self._bounds = bounds
        self._trim = 0.0
        self._recent = deque[Decided](maxlen=WINDOW)
        self._lengths = Lengths()
        self._decided = 0

    @property
    def bias(self) -> float:
        """The log-odds to add to the long decision token now."""
        return _clipped(self._fit + self._trim, self._bounds)

    @property
    def thinking_rate(self) -> float | None:
        """The share of the latest turns that thought; None before the first."""
        return sum(turn.is_long for turn in self._recent) / len(self._recent) if self._recent else None

    def decided(self, turn: Decided) -> None:
        """Follow a decision."""
        self._recent.append(replace(turn, log_odds=_clipped(turn.log_odds, (-MAX_LOG_ODDS, MAX_LOG_ODDS))))
        self._decided += 1
        rate = self._rate()
        if rate is None or len(self._recent) < MIN_TURNS:
            return
        if self._decided % REFIT == 0:
            self._wanted = self._solved(rate)
        self._fit += _clipped(self._wanted - self._fit, (-MAX_STEP, MAX_STEP))
        self._trim = LEAK * self._trim + GAIN * (rate - turn.is_long)

    @property
    def mean_tokens(self) -> float | None:
        """The mean number of decoded tokens of the latest turns; None before the first has ended."""
        return self._lengths.all

    def ended(self, *, is_long: bool, tokens: int) -> None:
        """Follow the end of an answer of so many decoded tokens; of one that was cut short, those until then."""
        self._lengths.add(is_long, tokens)

    def _rate(self) -> float | None:
        """Return the thinking rate that meets the target; None where the bias stays as it is."""
        if self.target.kind == "thinking-rate":
            return self.target.value
        return self._lengths.rate_for(self.target.value) if self.target.kind == "tokens" else None

    def _solved(self, rate: float) -> float:
        """Return the bias with which the latest turns would have had a thinking rate, by bisection."""
        low, high = self._bounds
        for _ in range(20):
            middle = (low + high) / 2
            drawn = (probability_of_long(turn.log_odds + middle, turn.temperature) for turn in self._recent)
            thinking = sum(drawn) / len(self._recent)
            low, high = (middle, high) if thinking < rate else (low, middle)
        return (low + high) / 2


def _clipped(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
