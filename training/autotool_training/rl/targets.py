"""Entropy targets of a run: what H_i is over the base's own answers in both modes.

The controller of β_l compares the mean H_i of the answers that chose to be long with the target, so that this is the same
mean at the start: all records are answered in both modes, and an answer weighs as the probability that the base chooses its
mode for this record. That gives the expected mean over chosen answers, and needs no luck with a mode that is rarely chosen.
Where the mode of the rollouts is forced (`rl.decisions = "halved"`), all answers weigh alike.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from autotool_core.modes import ResolvedMode
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.prefix_sharing import without_kv_copies
from autotool_training.common.records import Record
from autotool_training.common.sampling import sample
from autotool_training.rl.entropy import entropy_targets, measure
from autotool_training.rl.settings import EntropyTargets

_MIN_ODDS = 1e-12
_Rollout = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Probes:
    """The answers on which the targets are measured."""

    count: int
    """Number of records, each answered once in each mode."""
    batch: int
    """Answers that are decoded at once."""
    max_tokens: int
    """Limit of the tokens of an answer."""
    percentile: float | Literal["mean"]
    seed: int
    answers: Literal["chosen", "forced"] = "chosen"
    """Whether an answer weighs as the probability of its mode, or all alike."""


def measure_targets(base: Checkpoint, records: Sequence[Record], probes: Probes) -> EntropyTargets:
    """Measure H_i as the objective does: after the `auto` prefix, over decision token, rest of the prefix and answer.

    transformers decodes, whatever decodes the rollouts: a server may have the weights of an earlier run. Truncated answers are
    left out as in the objective, unless a mode has no others. The seed fixes the result.
    """
    draw = random.Random(probes.seed)  # noqa: S311 not a secret
    drawn = draw.sample(list(records), min(probes.count, len(records)))
    torch.manual_seed(probes.seed)
    short, long = (_rollouts(base, drawn, mode, probes) for mode in (ResolvedMode.SHORT, ResolvedMode.LONG))
    is_short = torch.tensor([True] * len(short) + [False] * len(long))
    entropy, odds = measure(base.model, [*short, *long], [rollouts[0][1][0] for rollouts in (short, long)])
    # A mode that is never chosen has targets nevertheless.
    weight = odds.clamp(min=_MIN_ODDS) if probes.answers == "chosen" else None
    return entropy_targets(entropy, is_short, weight, probes.percentile)


def _rollouts(base: Checkpoint, records: Sequence[Record], mode: ResolvedMode, probes: Probes) -> list[_Rollout]:
    """Return prompt and response ids of an answer to each record."""
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    prefix, eos = [*writer.response_prefixes[mode]], [base.tokenizer.eos_token_id]
    prompts = [writer.prompt(record) for record in records]
    made: list[_Rollout] = []
    for start in range(0, len(prompts), probes.batch):
        part = prompts[start : start + probes.batch]
        begun = [prompt + prefix for prompt in part]
        with without_kv_copies(base.model):
            responses = sample(base.model, begun, probes.max_tokens, eos)
        made += [(prompt, prefix + response) for prompt, response in zip(part, responses, strict=True)]
    return [rollout for rollout in made if rollout[1][-1] in eos] or made
