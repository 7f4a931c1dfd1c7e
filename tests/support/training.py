"""A tiny model from scratch and graded records to train it on."""

from itertools import islice
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from autotool_core.graded import generate
from autotool_training import scratch
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.records import GoldCall, Record

SIZES = scratch.ScratchSettings(hidden_size=32, layers=2, heads=2, intermediate_size=64)


def make_base(*, tied: bool = True) -> Checkpoint:
    """The tiny model; untied, its output embeddings are a matrix of their own, which begins as a copy of the other."""
    base = scratch.make(SIZES, seed=0)
    if not tied:
        base.model.config.tie_word_embeddings = False
        base.model.lm_head.weight = torch.nn.Parameter(base.model.lm_head.weight.detach().clone())
    return base


def changed_rows(base: Checkpoint, trained: Path) -> dict[str, set[int]]:
    """Return the rows of the input and the output embeddings that a saved checkpoint has other values in than its base."""
    saved = AutoModelForCausalLM.from_pretrained(trained)
    matrices = {
        "input": (base.model.get_input_embeddings(), saved.get_input_embeddings()),
        "output": (base.model.get_output_embeddings(), saved.get_output_embeddings()),
    }
    return {
        name: {*(one.weight != other.weight).any(1).nonzero().flatten().tolist()} for name, (one, other) in matrices.items()
    }


def records(count: int) -> list[Record]:
    return [
        Record(
            id=task.id,
            tools=list(task.tools),
            messages=[{"role": "user", "content": task.request}],
            calls=[GoldCall(name=call.name, arguments=dict(call.arguments)) for call in task.calls],
            reasoning=task.reasoning,
            source="graded",
            licence="Apache-2.0",
            level=task.level,
        )
        for task in islice(generate("train", 2, distractors=1), count)
    ]
