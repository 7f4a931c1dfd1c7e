"""`autotool train scratch`: pretrain a random model until it answers graded tasks in both modes.

It does not learn which mode a task needs: the later stages teach that.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from torch.optim import AdamW, Optimizer
from torch.utils.tensorboard.writer import SummaryWriter
from transformers import PreTrainedModel

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_training.common.callbacks import explain_full_disk
from autotool_training.common.checkpoint import Checkpoint, load_finished
from autotool_training.common.examples import IGNORE_INDEX
from autotool_training.common.progress import CURVES
from autotool_training.common.resume import base_identity, claim_run_dir
from autotool_training.patches.muon import muon
from autotool_training.scratch.curriculum import CurriculumSettings, CurriculumStage, TokenSequence, curriculum

STATE, METRICS = "practice.pt", "metrics.jsonl"


class PretrainSettings(CurriculumSettings):
    """The curriculum, and the rates of its training."""

    learning_rate: float = Field(default=4e-3, gt=0)
    """Rate of the matrices, by Muon (github.com/KellerJordan/Muon). AdamW takes several times as many steps."""
    embedding_rate: float = Field(default=2e-3, gt=0)
    """Rate of the embeddings and norms, by AdamW."""
    warmup_steps: int = Field(default=100, ge=1)
    save_steps: int = Field(default=50, ge=1)


def pretrain(
    base: Checkpoint, settings: PretrainSettings, out: Path, *, seed: int, begin: Callable[[Path], None] | None = None
) -> Checkpoint:
    """Train the model of `base` and write it to `out`, resuming a stopped run there.

    The weights are float32; on a GPU it computes in bfloat16, which CPUs may only emulate. The mean loss (nats a
    token) of every `save_steps` steps goes to `out/metrics.jsonl` and, for TensorBoard, to `out/tensorboard`. `begin` is called
    with `out` once it is known to be this run's.
    Raises AutoToolError if the folder holds another run, the loss is not a number or the disk is full.
    """
    start = {**base_identity(base), "parameters": base.model.num_parameters()}
    run = {"stage": "scratch", "seed": seed, "settings": settings.model_dump(by_alias=True), **start}
    assumed = {"settings": PretrainSettings().model_dump(by_alias=True)}
    claim_run_dir(out, run, begin, assumed=assumed, planned="settings.task_steps")
    if done := load_finished(out):
        return done
    with explain_full_disk(out):
        _Pretraining(base, settings, out, seed).run()
        base.save(out)
        (out / STATE).unlink(missing_ok=True)
    return base


@dataclass
class _Position:
    """How far a run is."""

    stage: int = 0
    """Index of the curriculum's stage."""
    step: int = 0
    """Steps made of the stage."""
    total: int = 0
    """Steps made of the run."""

    def as_dict(self) -> dict[str, int]:
        """Return the position as the files of a run hold it."""
        return {"lesson": self.stage, "step": self.step, "total": self.total}

    @classmethod
    def of(cls, held: Mapping[str, int]) -> "_Position":
        """Return the position that a file holds."""
        return cls(held["lesson"], held["step"], held["total"])


class _Pretraining:
    def __init__(self, base: Checkpoint, settings: PretrainSettings, out: Path, seed: int) -> None:
        self._base, self._settings, self._out, self._seed = base, settings, out, seed
        self._stages = curriculum(base, settings, seed)
        self._optimizers = _optimizers(base.model, settings)
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._optimizers]
        self._position = _Position()
        self._resume()
        # Without the steps that a killed run had logged but not saved.
        self._curves = SummaryWriter(str(out / CURVES), purge_step=self._position.total + 1)

    def run(self) -> None:
        self._base.model.train()
        with closing(self._curves), progress_bar() as progress:
            for number, stage in enumerate(self._stages):
                if number >= self._position.stage:
                    task = progress.add_task(f"stage {number + 1}", total=stage.steps, completed=self._position.step)
                    self._train(stage, lambda loss, task=task: progress.update(task, advance=1, description=f"loss {loss:.3f}"))
                    self._position = _Position(number + 1, 0, self._position.total)

    def _train(self, stage: CurriculumStage, report: Callable[[float], None]) -> None:
        """Make the rest of a stage's steps. Raises AutoToolError if its goal is not reached."""
        recent: list[float] = []
        for batch in stage.batches(self._seed, self._position.step):
            recent.append(self._step(batch, stage))
            report(recent[-1])
            if len(recent) == self._settings.save_steps:
                mean = sum(recent) / len(recent)
                self._save(mean)
                recent.clear()
                if stage.goal is not None and mean <= stage.goal:
                    return
        if stage.goal is not None:
            raise AutoToolError(
                f"Stage {self._position.stage + 1} did not reach a loss of {stage.goal} nats in {stage.steps} steps: "
                "try another --seed and --out, or more steps (base.scratch.practice)."
            )

    def _step(self, batch: Sequence[TokenSequence], stage: CurriculumStage) -> float:
        self._set_rates(stage)
        loss = _loss(self._base.model, batch)
        loss.backward()
        clip_grad_norm_(self._base.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self._position.step += 1
        self._position.total += 1
        if not math.isfinite(loss.item()):
            raise AutoToolError(
                f"The loss is not a number at step {self._position.total}: lower base.scratch.practice.learning_rate."
            )
        return loss.item()

    def _set_rates(self, stage: CurriculumStage) -> None:
        """Raise the rates at the start of the run, and lower them over the last third of the last stage."""
        factor = min(1.0, (self._position.total + 1) / self._settings.warmup_steps)
        if stage is self._stages[-1]:
            factor *= min(1.0, 3 * (1 - self._position.step / stage.steps))
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def _resume(self) -> None:
        file = self._out / STATE
        if file.exists():
            saved = torch.load(file)
            self._position = _Position.of(saved["place"])
            for part, state in zip((self._base.model, *self._optimizers), saved["parts"], strict=True):
                part.load_state_dict(state)

    def _save(self, loss: float) -> None:
        position = self._position.as_dict()
        with jsonl.atomic_write(self._out / STATE) as part:
            parts = [trained.state_dict() for trained in (self._base.model, *self._optimizers)]
            torch.save({"place": position, "parts": parts}, part)
            with (self._out / METRICS).open("a", encoding="utf-8") as metrics:
                metrics.write(json.dumps({**position, "loss": round(loss, 4)}) + "\n")
        self._curves.add_scalar("train/loss", loss, self._position.total)
        self._curves.flush()  # a killed run keeps the points up to its last save


def _loss(model: PreTrainedModel, batch: Sequence[TokenSequence]) -> Tensor:
    """Return the cross-entropy (nats a token) of the tokens with loss."""
    ids = pad_sequence([torch.tensor(sequence.ids) for sequence in batch], batch_first=True)
    labels = pad_sequence([torch.tensor(sequence.labels) for sequence in batch], batch_first=True, padding_value=IGNORE_INDEX)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type != "cpu"):
        logits = model(input_ids=ids.to(model.device)).logits[:, :-1]
    return cross_entropy(logits.float().flatten(0, 1), labels[:, 1:].flatten().to(model.device), ignore_index=IGNORE_INDEX)


def _optimizers(model: PreTrainedModel, settings: PretrainSettings) -> list[Optimizer]:
    embedded = id(model.get_input_embeddings().weight)  # also the output embeddings, which are tied
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and id(weight) != embedded]
    others = [weight for weight in model.parameters() if weight.ndim != 2 or id(weight) == embedded]
    return [
        muon(matrices, lr=settings.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=settings.embedding_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
