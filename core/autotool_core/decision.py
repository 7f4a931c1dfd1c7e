"""The decision of `auto`: long or short, from the log-probabilities of tokens that may come next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from autotool_core.modes import ResolvedMode


@dataclass(frozen=True, slots=True)
class Readout:
    """How the log-odds of long are read from the log-probabilities (nats) of candidates for the next token.

    The first two candidates are the decision tokens of long and short, which by default decide alone.
    """

    weights: tuple[float, ...] = (1.0, -1.0)
    """One for each candidate. Their sum is 0, so that it does not matter if the log-probabilities lack a constant."""
    intercept: float = 0.0

    def log_odds(self, logprobs: Sequence[float]) -> float:
        """Return the log-odds of long, before bias and temperature. `logprobs`: one for each candidate, in their order."""
        # A candidate that is not read may be impossible, and 0 times minus infinity is no number.
        read = (weight * logprob for weight, logprob in zip(self.weights, logprobs, strict=True) if weight)
        return self.intercept + sum(read)


PAIR = Readout()
"""The readout of the two decision tokens alone: the model's own choice."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The mode that a turn in `auto` resolved to."""

    resolved: ResolvedMode
    p_long: float
    """The probability of long before bias and temperature: the model's own, renormalised over long and short, or that of the
    profile's decision head."""


def decide(log_odds: float, *, reasoning_bias: float, temperature: float, uniform: float) -> Decision:
    """Draw the resolved mode as a sampler over the two tokens would.

    `reasoning_bias` is added to the log-odds of long before they are divided by the temperature, where logit biases take
    effect in OpenAI's API and in vLLM. Temperature 0 takes the likelier mode; a tie is short, the cheaper one. `uniform` is a
    random number from [0, 1).
    """
    is_long = uniform < probability_of_long(log_odds + reasoning_bias, temperature)
    return Decision(ResolvedMode.LONG if is_long else ResolvedMode.SHORT, _sigmoid(log_odds))


def probability_of_long(biased: float, temperature: float) -> float:
    """Return the probability with which long is drawn, from its log-odds with their bias; 0 or 1 at temperature 0."""
    return float(biased > 0) if temperature == 0 else _sigmoid(biased / temperature)


def auc(log_odds: Sequence[float], is_long: Sequence[bool]) -> float:
    """Return how well log-odds tell long from short: the share of pairs of both in which long has the higher ones.

    Equal ones count half, so that 0.5 is chance. Raises ValueError without one of each.
    """
    num_long = sum(is_long)
    num_pairs = num_long * (len(is_long) - num_long)
    if not num_pairs:
        raise ValueError("There has to be one that is long and one that is short.")
    ranks = sum(rank for rank, long in zip(_ranks(log_odds), is_long, strict=True) if long)
    return (ranks - num_long * (num_long + 1) / 2) / num_pairs


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the ranks of values from 1 on; equal ones have the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    for _, group in groupby(enumerate(order, 1), key=lambda pair: values[pair[1]]):
        equal = [*group]
        for _, index in equal:
            ranks[index] = (equal[0][0] + equal[-1][0]) / 2
    return ranks


def _sigmoid(x: float) -> float:
    if x < 0:
        # exp of a large positive number would overflow.
        return 1.0 - _sigmoid(-x)
    return 1.0 / (1.0 + math.exp(-x))
