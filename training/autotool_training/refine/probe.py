"""`autotool train refine`: probe rounds by checkpoints of the SFT run, and the records that they leave for RL.

Each checkpoint is a round: it answers every record G times in `auto`, as RL's rollouts do, and is paid by RL's rewards. What
comes of it chooses the records (`refine.refine`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_training.common import records as files
from autotool_training.common.callbacks import clear_disk_errors
from autotool_training.common.checkpoint import Checkpoint, load_step
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.fingerprint import fingerprint
from autotool_training.common.prefix_sharing import keys_uncopied, use
from autotool_training.common.records import Record
from autotool_training.common.resume import digest
from autotool_training.common.sampling import sample
from autotool_training.data.counts import Counts
from autotool_training.refine.select import refine
from autotool_training.rl.reward import Scored, Scorer, reward_range
from autotool_training.rl.rollout import deciding_first
from autotool_training.rl.run import RlSettings
from autotool_training.rl.trajectory import TrajectoryReader


class RefineSettings(BaseModel):
    """How records are probed and chosen. Rewards and the length of a response are those of `rl`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: int = Field(default=8, ge=1)
    """Rollouts of a record and round."""
    batch: int = Field(default=64, ge=1)
    """Rollouts that are decoded at a time, rounded down to whole groups."""
    rate: Literal["reward", "accuracy"] = "reward"
    """What a round says of a record: its mean reward, brought to [0, 1], so that a record is too easy only if it is always
    right *and* short; or the share of right rollouts in either mode."""
    min_alignment: float = Field(default=0.6, le=1)
    """A record is kept if the variance of its rates about the mean of all is so small (see `refine`); 1 keeps the fewest."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What is probed, how, and where to."""

    records: Sequence[Record]
    rounds: Sequence[Path]
    """A checkpoint a round; one that is named twice is probed with two seeds."""
    base: Callable[[], Checkpoint]
    """What checkpoints that are adapters go onto."""
    settings: RefineSettings
    rl: RlSettings
    seed: int
    out: Path
    """The file of records to write."""

    @property
    def probes(self) -> Path:
        """The file of the rollouts' rewards."""
        return self.out.with_name(f"{self.out.stem}.probes.jsonl")


def refine_records(job: Probing) -> Counts:
    """Probe, choose, and write the records that are kept, with the counts beside them as JSON.

    The rewards are kept in `<out>.probes.jsonl` as they come: killed and started again, a run goes on with them, and rounds
    can be added; a checkpoint that was made anew in its folder is probed anew. Raises AutoToolError if those there are were
    made with other settings, if there is nothing to probe, if two records have one id, or if the disk is full.
    """
    if not job.records or not job.rounds:
        raise AutoToolError("Refinement needs records and at least one checkpoint: look at the counts of `label`.")
    files.refuse_doubles(job.records)
    with clear_disk_errors(job.out):
        job.out.parent.mkdir(parents=True, exist_ok=True)
        probed = _probe(job)
        accuracy = _rates(job, probed, _accuracy)
        rates = accuracy if job.settings.rate == "accuracy" else _rates(job, probed, _reward_rate(job))
        refined = refine(rates, seed=job.seed, min_alignment=job.settings.min_alignment, accuracy=accuracy)
        files.write(job.out, (job.records[at] for at in refined.kept))
        counts = _counts(job.records, frozenset(refined.kept), refined.verdicts)
        counts.write(job.out.with_name(f"{job.out.stem}.counts.json"))
    return counts


_Probed = dict[str, dict[str, Any]]
"""A round: by record id, the line of its group."""


def _probe(job: Probing) -> list[_Probed]:
    is_new = next(jsonl.read(job.probes), None) is None
    done = _read(job)
    with jsonl.Appender(job.probes) as appender, progress_bar() as progress:
        if is_new:
            appender.write(_identity(job))
        for at, folder in enumerate(job.rounds):
            _Round(job, at, folder, done[at, str(folder)], progress).run(appender)
    return [done[at, str(folder)] for at, folder in enumerate(job.rounds)]


def _read(job: Probing) -> defaultdict[tuple[int, str], _Probed]:
    """What an earlier start of the run has probed."""
    done: defaultdict[tuple[int, str], _Probed] = defaultdict(dict)
    lines = jsonl.read(job.probes)
    found = next(lines, None)
    if found is not None and (other := [name for name, value in _identity(job).items() if found.get(name) != value]):
        raise AutoToolError(f"{job.probes} holds probes with other settings ({', '.join(other)}): give another --out.")
    contents = {str(folder): fingerprint(folder) for folder in job.rounds}
    for line in lines:
        held = contents.get(line["checkpoint"])
        # Lines of older code have no fingerprint, and count as before.
        if line.get("contents", held) == held:
            done[line["round"], line["checkpoint"]][line["id"]] = line
    return done


def _identity(job: Probing) -> dict[str, Any]:
    """What the rewards of a round depend on, its checkpoint apart."""
    objective = job.rl.objective
    return {
        "records": digest(job.records),
        "group": job.settings.group,
        "seed": job.seed,
        "max_response_tokens": job.rl.max_response_tokens,
        "rewards": objective.length_penalty if objective.variant == "length-penalty" else objective.rewards.model_dump(),
    }


class _Round:
    """One checkpoint's groups of rollouts."""

    def __init__(self, job: Probing, at: int, folder: Path, done: _Probed, progress: Progress) -> None:
        self._job, self._at, self._folder, self._done, self._progress = job, at, folder, done, progress
        self._contents = fingerprint(folder)
        self._bar = progress.add_task("", total=len(job.records))
        self._show()

    def run(self, appender: jsonl.Appender) -> None:
        """Make the groups that are not there yet."""
        left = [record for record in self._job.records if record.id not in self._done]
        if not left:
            return
        roller = _Roller(load_step(self._folder, self._job.base), self._job)
        size = max(1, self._job.settings.batch // self._job.settings.group)
        for start in range(0, len(left), size):
            part = left[start : start + size]
            for record, group in zip(part, roller.groups(part, self._seed(part[0])), strict=True):
                line = self._line(record, group)
                appender.write(line)
                self._done[record.id] = line
            self._show()

    def _line(self, record: Record, group: Sequence[Scored]) -> dict[str, Any]:
        rewards, right = [one.reward for one in group], sum(one.right for one in group)
        made_by = {"round": self._at, "checkpoint": str(self._folder), "contents": self._contents}
        return {**made_by, "id": record.id, "rewards": rewards, "right": right}

    def _seed(self, first: Record) -> int:
        """A batch's seed: the same in a resumed run that comes to the same batch."""
        text = f"{self._job.seed}/{self._at}/{first.id}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])

    def _show(self) -> None:
        rollouts = len(self._done) * self._job.settings.group
        share = f"{sum(line['right'] for line in self._done.values()) / rollouts:.1%} right" if rollouts else "starting"
        self._progress.update(self._bar, completed=len(self._done), description=f"{self._folder}: {share}")


class _Roller:
    """A checkpoint that answers records."""

    def __init__(self, checkpoint: Checkpoint, job: Probing) -> None:
        self._model = checkpoint.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._eos = [checkpoint.tokenizer.eos_token_id]
        self._writer = ExampleWriter(checkpoint.tokenizer, checkpoint.profile, self._eos[0])
        self._reader = TrajectoryReader(checkpoint.tokenizer, checkpoint.profile, self._eos)
        self._longest, self._group = job.rl.max_response_tokens, job.settings.group
        self._scorer = Scorer(self._reader, job.rl.objective, self._longest)
        self._share = job.rl.share
        if self._share:
            use(self._model)

    def groups(self, records: Sequence[Record], seed: int) -> Iterator[list[Scored]]:
        """Yield each record's group, scored."""
        prompts = [prompt for record in records for prompt in [self._writer.prompt(record)] * self._group]
        deciding = deciding_first(self._model, self._reader.decision, share=self._share)
        with deciding, keys_uncopied(self._model):
            responses = sample(self._model, prompts, self._longest, self._eos, seed=seed)
        for at, record in enumerate(records):
            gold = [Call(call.name, call.arguments) for call in record.calls]
            rollouts = responses[at * self._group : (at + 1) * self._group]
            prompt = prompts[at * self._group]
            yield [self._scorer.score(prompt, response, record.tools, gold) for response in rollouts]


def _rates(job: Probing, rounds: Sequence[_Probed], rate: Callable[[dict[str, Any]], float]) -> list[list[float]]:
    """Rates (records, rounds)."""
    return [[rate(one[record.id]) for one in rounds] for record in job.records]


def _accuracy(line: dict[str, Any]) -> float:
    return line["right"] / len(line["rewards"])


def _reward_rate(job: Probing) -> Callable[[dict[str, Any]], float]:
    low, high = reward_range(job.rl.objective)
    # Each before the sum: the best is exactly 1 then, and so is the mean of such, which `refine` knows the too easy by.
    return lambda line: sum((reward - low) / (high - low) for reward in line["rewards"]) / len(line["rewards"])


def _counts(records: Sequence[Record], kept: frozenset[int], verdicts: Sequence[str]) -> Counts:
    counts = Counts("Refinement")
    for at, (record, verdict) in enumerate(zip(records, verdicts, strict=True)):
        counts.seen[record.source] += 1
        (counts.kept if at in kept else counts.dropped)[record.source][verdict] += 1
    return counts
