"""A tiny model from scratch and graded records to train it on."""

import json
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from autotool_core.graded import generate
from autotool_training import scratch
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.records import GoldCall, Record

SIZES = scratch.ScratchSettings(hidden_size=32, layers=2, heads=2, intermediate_size=64)


def make_base(*, tied: bool = True, dtype: str = "float32") -> Checkpoint:
    """The tiny model; untied, its output embeddings are a matrix of their own, which begins as a copy of the other."""
    base = scratch.make(SIZES, seed=0)
    if not tied:
        base.model.config.tie_word_embeddings = False
        base.model.lm_head.weight = torch.nn.Parameter(base.model.lm_head.weight.detach().clone())
    base.model.to(getattr(torch, dtype))
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


def saved_dtypes(folder: Path) -> set[torch.dtype]:
    """Return the types of the weights in a saved checkpoint or adapter."""
    return {tensor.dtype for file in folder.glob("*.safetensors") for tensor in load_file(file).values()}


def losses(run: Path) -> list[float]:
    """Return the losses of a run's steps."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


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
