"""Entropy targets of a run: percentiles of H_i over the base's own answers, in either mode."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autotool_core.modes import ResolvedMode
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.prefix_sharing import keys_uncopied
from autotool_training.common.records import Record
from autotool_training.common.sampling import sample
from autotool_training.rl.entropy import entropy_targets, measure
from autotool_training.rl.settings import EntropyTargets

_Rollout = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Probes:
    """What the targets are measured on."""

    count: int
    """Records, each answered once in either mode."""
    batch: int
    """Answers that are decoded at a time."""
    longest: int
    """Most tokens of an answer."""
    percentile: float
    seed: int


def measured_targets(base: Checkpoint, records: Sequence[Record], probes: Probes) -> EntropyTargets:
    """Measure H_i as the objective does: behind the `auto` prefix, over decision token, rest of the prefix and answer.

    Truncated answers count as little as in the objective, unless a mode has no others. The same for the same seed.
    """
    draw = random.Random(probes.seed)  # noqa: S311 not a secret
    asked = draw.sample(list(records), min(probes.count, len(records)))
    torch.manual_seed(probes.seed)
    short, long = (_rollouts(base, asked, mode, probes) for mode in (ResolvedMode.SHORT, ResolvedMode.LONG))
    is_short = torch.tensor([True] * len(short) + [False] * len(long))
    return entropy_targets(measure(base.model, [*short, *long]), is_short, probes.percentile)


def _rollouts(base: Checkpoint, records: Sequence[Record], mode: ResolvedMode, probes: Probes) -> list[_Rollout]:
    """Prompt and response ids of an answer to each record."""
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    begun, eos = [*writer.begun[mode]], [base.tokenizer.eos_token_id]
    prompts = [writer.prompt(record) for record in records]
    made: list[_Rollout] = []
    for start in range(0, len(prompts), probes.batch):
        part = prompts[start : start + probes.batch]
        with keys_uncopied(base.model):
            responses = sample(base.model, [prompt + begun for prompt in part], probes.longest, eos)
        made += [(prompt, begun + response) for prompt, response in zip(part, responses, strict=True)]
    return [one for one in made if one[1][-1] in eos] or made
