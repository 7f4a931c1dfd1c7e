"""The decision of `auto`: long or short, from the log-probabilities of the two decision tokens."""

import math
from dataclasses import dataclass

from autotool_core.modes import ResolvedMode


@dataclass(frozen=True, slots=True)
class Decision:
    """The mode that a turn in `auto` resolved to."""

    resolved: ResolvedMode
    p_long: float
    """The model's own probability of long, renormalised over long and short, before bias and temperature."""


def decide(long_logprob: float, short_logprob: float, *, reasoning_bias: float, temperature: float, uniform: float) -> Decision:
    """Draw the resolved mode as a sampler over the two tokens would.

    `reasoning_bias` is added to the log-odds before they are divided by the temperature, where logit biases take effect
    in OpenAI's API and in vLLM. Temperature 0 takes the likelier mode; a tie is short, the cheaper one. `uniform` is a
    random number from [0, 1).
    """
    log_odds = long_logprob - short_logprob
    is_long = uniform < probability_of_long(log_odds + reasoning_bias, temperature)
    return Decision(ResolvedMode.LONG if is_long else ResolvedMode.SHORT, _sigmoid(log_odds))


def probability_of_long(biased: float, temperature: float) -> float:
    """Return the probability with which long is drawn, from its log-odds with their bias; 0 or 1 at temperature 0."""
    return float(biased > 0) if temperature == 0 else _sigmoid(biased / temperature)


def _sigmoid(x: float) -> float:
    if x < 0:
        # exp of a large positive number would overflow.
        return 1.0 - _sigmoid(-x)
    return 1.0 / (1.0 + math.exp(-x))
