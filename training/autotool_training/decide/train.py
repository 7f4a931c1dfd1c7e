"""`autotool train decide`: a decision head for a checkpoint with both modes, from labelled records."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.profile import MAX_READ_TOKENS, DecisionHead, Profile
from autotool_core.progress import progress_bar
from autotool_training.common.records import Record
from autotool_training.decide.fit import FOLDS, Fit, Quality, cross_validate, fit, quality
from autotool_training.decide.reading import DecidingCheckpoint, Readings

MIN_RECORDS = 2 * FOLDS
"""Records of either label, so that each part of the cross-validation has some."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a training of the decision has made."""

    records: int
    long: int
    """Records of them that are labelled long."""
    left_out: int
    """Records with a longer prompt than was allowed."""
    tokens: int
    """Tokens that the head reads."""
    penalty: float
    own: Quality
    """The quality of the two decision tokens' log-odds alone: the checkpoint's own p_long."""
    trained: Quality
    """The quality of heads on records that they were not trained on."""


def train(
    source: str,
    records: Sequence[Record],
    out: Path,
    *,
    read: int = MAX_READ_TOKENS,
    max_tokens: int = 2048,
    seed: int = 0,
    console: Console | None = None,
) -> Result:
    """Train a decision head, and write the checkpoint's profile with it, and beside it the result as JSON.

    `source`: a checkpoint as `DecidingCheckpoint` takes it. `read`: the tokens whose log-probabilities the head reads, the
    decision tokens among them. `max_tokens`: prompts with more are left out. Raises AutoToolError for a record without a label,
    and where too few of either label are left.
    """
    _check_labels(records)
    checkpoint = DecidingCheckpoint(source)
    kept = [(prompt, record) for record in records if len(prompt := checkpoint.prompt(record)) <= max_tokens]
    is_long = torch.tensor([record.label == "long" for _, record in kept], dtype=torch.bool)
    _check_number(is_long, max_tokens)
    with progress_bar(console) as progress:
        prompts = progress.track([prompt for prompt, _ in kept], description="decisions")
        readings = checkpoint.read(prompts, read - 2)
    penalty, trained = cross_validate(readings.logprobs, is_long, seed)
    made = fit(readings.logprobs, is_long, penalty)
    own = quality(readings.logprobs[:, 0] - readings.logprobs[:, 1], is_long)
    left_out = len(records) - len(kept)
    result = Result(len(kept), int(is_long.sum()), left_out, len(readings.tokens), penalty, own, trained)
    _write(out, checkpoint.profile.model_copy(update={"decision_head": _head(readings, made)}), result)
    return result


def _check_labels(records: Sequence[Record]) -> None:
    for record in records:
        if record.label is None:
            raise AutoToolError(f"Record {record.id} has no label: run `autotool train label`.")


def _check_number(is_long: Tensor, max_tokens: int) -> None:
    for label, number in (("long", int(is_long.sum())), ("short", int((~is_long).sum()))):
        if number < MIN_RECORDS:
            raise AutoToolError(
                f"{number} records with prompts of at most {max_tokens} tokens are labelled {label}, and {MIN_RECORDS} are "
                "needed: label more records, or raise --max-tokens."
            )


def _head(readings: Readings, made: Fit) -> DecisionHead:
    return DecisionHead(tokens=readings.tokens, weights=tuple(made.weights.tolist()), intercept=made.intercept)


def _write(out: Path, profile: Profile, result: Result) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(f"{out.stem}.metrics.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    with jsonl.atomic_write(out) as part:
        part.write_text(profile.model_dump_json(indent=2) + "\n", encoding="utf-8")
