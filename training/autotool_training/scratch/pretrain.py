"""`autotool train scratch`: a random model practises until it answers graded tasks in either mode.

It has no opinion then on which mode a task needs: that is what the stages after it teach.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedModel

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_training.common.callbacks import clear_disk_errors
from autotool_training.common.checkpoint import Checkpoint, finished
from autotool_training.common.examples import IGNORE_INDEX
from autotool_training.common.resume import claim, origin
from autotool_training.patches.muon import muon
from autotool_training.scratch.curriculum import Lesson, LessonSettings, Row, lessons

STATE, METRICS = "practice.pt", "metrics.jsonl"


class PracticeSettings(LessonSettings):
    """How long, and how fast."""

    learning_rate: float = Field(default=4e-3, gt=0)
    """Of the matrices, by Muon (github.com/KellerJordan/Muon). AdamW takes several times as many steps."""
    embedding_rate: float = Field(default=2e-3, gt=0)
    """Of the embeddings and norms, by AdamW."""
    warmup_steps: int = Field(default=100, ge=1)
    save_steps: int = Field(default=50, ge=1)


def practise(base: Checkpoint, settings: PracticeSettings, out: Path, *, seed: int) -> Checkpoint:
    """Train the model of `base`, resuming where a run in `out` was stopped, and write it there.

    The weights are float32; on a GPU it calculates in bfloat16, which processors may only emulate. The mean loss (nats a
    token) of every `save_steps` steps goes to `out/metrics.jsonl`.
    Raises AutoToolError if the folder holds another run, the loss is not a number or the disk is full.
    """
    start = {**origin(base), "parameters": base.model.num_parameters()}
    claim(out, {"stage": "scratch", "seed": seed, "settings": settings.model_dump(), **start})
    if done := finished(out):
        return done
    with clear_disk_errors(out):
        _Practice(base, settings, out, seed).run()
        base.save(out)
        (out / STATE).unlink(missing_ok=True)
    return base


@dataclass
class _Place:
    """Where a run is."""

    lesson: int = 0
    step: int = 0
    """Of the lesson."""
    total: int = 0
    """Steps of the run."""


class _Practice:
    def __init__(self, base: Checkpoint, settings: PracticeSettings, out: Path, seed: int) -> None:
        self._base, self._settings, self._out, self._seed = base, settings, out, seed
        self._lessons = lessons(base, settings, seed)
        self._optimizers = _optimizers(base.model, settings)
        self._rates = [[group["lr"] for group in one.param_groups] for one in self._optimizers]
        self._place = _Place()

    def run(self) -> None:
        self._resume()
        self._base.model.train()
        with progress_bar() as progress:
            for number, lesson in enumerate(self._lessons):
                if number >= self._place.lesson:
                    task = progress.add_task(f"lesson {number + 1}", total=lesson.steps, completed=self._place.step)
                    self._take(lesson, lambda loss, task=task: progress.update(task, advance=1, description=f"loss {loss:.3f}"))
                    self._place = _Place(number + 1, 0, self._place.total)

    def _take(self, lesson: Lesson, tell: Callable[[float], None]) -> None:
        """The rest of a lesson. Raises AutoToolError if its goal is not reached."""
        recent: list[float] = []
        for rows in lesson.batches(self._seed, self._place.step):
            recent.append(self._learn(rows, lesson))
            tell(recent[-1])
            if len(recent) == self._settings.save_steps:
                mean = sum(recent) / len(recent)
                self._save(mean)
                recent.clear()
                if lesson.goal is not None and mean <= lesson.goal:
                    return
        if lesson.goal is not None:
            raise AutoToolError(
                f"Lesson {self._place.lesson + 1} did not reach {lesson.goal} nats in {lesson.steps} steps: try another --seed "
                "and --out, or more steps (base.scratch.practice)."
            )

    def _learn(self, rows: Sequence[Row], lesson: Lesson) -> float:
        self._set_rates(lesson)
        loss = _loss(self._base.model, rows)
        loss.backward()
        clip_grad_norm_(self._base.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self._place.step += 1
        self._place.total += 1
        if not math.isfinite(loss.item()):
            raise AutoToolError(
                f"The loss is not a number at step {self._place.total}: lower base.scratch.practice.learning_rate."
            )
        return loss.item()

    def _set_rates(self, lesson: Lesson) -> None:
        """Up at the start of the run, and down over the last third of the last lesson."""
        factor = min(1.0, (self._place.total + 1) / self._settings.warmup_steps)
        if lesson is self._lessons[-1]:
            factor *= min(1.0, 3 * (1 - self._place.step / lesson.steps))
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def _resume(self) -> None:
        file = self._out / STATE
        if file.exists():
            saved = torch.load(file)
            self._place = _Place(**saved["place"])
            for part, state in zip((self._base.model, *self._optimizers), saved["parts"], strict=True):
                part.load_state_dict(state)

    def _save(self, loss: float) -> None:
        place = asdict(self._place)
        with jsonl.atomic_write(self._out / STATE) as part:
            torch.save({"place": place, "parts": [one.state_dict() for one in (self._base.model, *self._optimizers)]}, part)
            with (self._out / METRICS).open("a", encoding="utf-8") as metrics:
                metrics.write(json.dumps({**place, "loss": round(loss, 4)}) + "\n")


def _loss(model: PreTrainedModel, rows: Sequence[Row]) -> Tensor:
    """Cross-entropy (nats a token) of the tokens with loss."""
    ids = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True)
    labels = pad_sequence([torch.tensor(row.labels) for row in rows], batch_first=True, padding_value=IGNORE_INDEX)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type != "cpu"):
        logits = model(input_ids=ids.to(model.device)).logits[:, :-1]
    return cross_entropy(logits.float().flatten(0, 1), labels[:, 1:].flatten().to(model.device), ignore_index=IGNORE_INDEX)


def _optimizers(model: PreTrainedModel, settings: PracticeSettings) -> list[Optimizer]:
    embedded = id(model.get_input_embeddings().weight)  # the output's too: they are tied
    matrices = [one for one in model.parameters() if one.ndim == 2 and id(one) != embedded]
    others = [one for one in model.parameters() if one.ndim != 2 or id(one) == embedded]
    return [
        muon(matrices, lr=settings.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=settings.embedding_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
