"""`autotool train refine`: probe rounds along a short run of GRPO, which choose the records for RL.

Plain GRPO trains on all records for a few steps. The checkpoint that it starts from and those on its way are the rounds: each
answers every record G times in `auto`, as RL's rollouts do, and gets RL's rewards, by which the records are chosen
(`refine.select`). With `rounds = 0` nothing is trained, and each named checkpoint is a round.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_training.common import records as files
from autotool_training.common.callbacks import explain_full_disk
from autotool_training.common.checkpoint import Checkpoint, list_checkpoints, load_step, load_tokenizer
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.fingerprint import fingerprint
from autotool_training.common.loading import LoadSettings
from autotool_training.common.prefix_sharing import enable, without_kv_copies
from autotool_training.common.records import Record
from autotool_training.common.resume import records_digest
from autotool_training.common.sampling import sample
from autotool_training.common.server_sampling import ServerSampler
from autotool_training.data.counts import Counts
from autotool_training.refine.select import select_records
from autotool_training.refine.settings import RefineSettings
from autotool_training.refine.short_run import short_run
from autotool_training.rl import run as rl
from autotool_training.rl.own_reward import load_rewards
from autotool_training.rl.reward import RolloutScorer, Scored, reward_range
from autotool_training.rl.rollout import force_decision_token
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import TrajectoryReader


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """The records and checkpoints to probe, the settings, and the output file."""

    records: Sequence[Record]
    rounds: Sequence[Path]
    """The checkpoint of each round; one that is named twice is probed with two seeds. With GRPO rounds it starts from the last
    one, and the others are not used."""
    base: Callable[[], Checkpoint]
    """Loads the base of checkpoints that are adapters."""
    settings: RefineSettings
    rl: RlSettings
    seed: int
    out: Path
    """The file to which the chosen records are written."""
    bases: Mapping[Path, Callable[[], Checkpoint]] = field(default_factory=dict[Path, Callable[[], Checkpoint]])
    """Loaders of the bases of single rounds; `base` loads that of all others."""
    loading: LoadSettings = field(default_factory=LoadSettings)
    """How checkpoints of whole weights are loaded."""

    @property
    def grpo(self) -> Path:
        """Return the folder of the short run of GRPO."""
        return self.out.with_name(f"{self.out.stem}.grpo")

    @property
    def probes(self) -> Path:
        """Return the path of the file of the rollouts' rewards."""
        return self.out.with_name(f"{self.out.stem}.probes.jsonl")


def refine_records(job: ProbeJob) -> Counts:
    """Probe, choose, and write the kept records and, as JSON, the counts.

    The rewards are appended to `<out>.probes.jsonl` as they are made: a run that is started again continues from them, and
    rounds can be added, of GRPO too; a checkpoint that was made again in its folder is probed again. Records with a prompt of
    more than `rl.max_prompt_tokens` are dropped and counted. Raises AutoToolError if existing rewards or the short run of GRPO
    were made with other settings or from another checkpoint, if there is nothing to probe, if all prompts are too long, if two
    records have the same id, or if the disk is full.
    """
    if not job.records or not job.rounds:
        raise AutoToolError("Refinement needs records and at least one checkpoint: look at the counts of `label`.")
    if job.settings.urls and len(job.settings.urls) != len(job.rounds):
        raise AutoToolError(
            f"refine.urls names {len(job.settings.urls)} servers for {len(job.rounds)} checkpoints: name one for each of them."
        )
    files.reject_duplicate_ids(job.records)
    with explain_full_disk(job.out):
        job.out.parent.mkdir(parents=True, exist_ok=True)
        job = _with_grpo_rounds(job) if job.settings.rounds else job
        probed = _probe(job)
        long, fitting = _split_by_length(job.records, probed)
        if not fitting:
            raise AutoToolError(f"Every prompt has more than {job.rl.max_prompt_tokens} tokens: raise rl.max_prompt_tokens.")
        job = replace(job, records=fitting)
        accuracy = _rates(job, probed, _accuracy)
        rates = accuracy if job.settings.rate == "accuracy" else _rates(job, probed, _reward_rate(job, probed))
        selection = select_records(rates, seed=job.seed, min_alignment=job.settings.min_alignment, accuracy=accuracy)
        files.write(job.out, (job.records[index] for index in selection.kept))
        counts = _counts(job.records, frozenset(selection.kept), selection.verdicts)
        for record in long:
            counts.seen[record.source] += 1
            counts.dropped[record.source][f"prompt of more than {job.rl.max_prompt_tokens} tokens"] += 1
        counts.write(job.out.with_name(f"{job.out.stem}.counts.json"))
    return counts


def _with_grpo_rounds(job: ProbeJob) -> ProbeJob:
    """Train by plain GRPO on all records, or go on, and return the job with the checkpoints of the run as rounds."""
    start = job.rounds[-1]
    warmed, settings = load_step(start, job.base, job.loading), short_run(job.settings, job.rl)
    rl.train(warmed, job.records, settings, job.grpo, seed=job.seed, loading=job.loading)
    # An adapter on the way is one of the checkpoint that GRPO started from.
    bases = {folder: partial(load_step, start, job.base, job.loading) for folder in list_checkpoints(job.grpo / "steps")}
    return replace(job, rounds=[start, *bases], bases=bases)


_ProbedGroups = dict[str, dict[str, Any]]
"""The groups of a round: for each record id, its line in the file."""


def _probe(job: ProbeJob) -> list[_ProbedGroups]:
    is_new = next(jsonl.read(job.probes), None) is None
    done, keys = _read(job), [_key(folder) for folder in job.rounds]
    with jsonl.Appender(job.probes) as appender, progress_bar() as progress:
        if is_new:
            appender.write(_identity(job))
        for (number, key), folder in zip(enumerate(keys), job.rounds, strict=True):
            _ProbeRound(job, number, folder, done[number, key], progress).run(appender)
    return [done[number, key] for number, key in enumerate(keys)]


def _key(folder: Path) -> str:
    """Return what a checkpoint is known by: its weights, wherever its folder is, else the folder's name."""
    return fingerprint(folder) or str(folder)


def _read(job: ProbeJob) -> defaultdict[tuple[int, str], _ProbedGroups]:
    """Return the groups that an earlier start of the run has probed, by round and checkpoint (`_key`)."""
    done: defaultdict[tuple[int, str], _ProbedGroups] = defaultdict(dict)
    lines = jsonl.read(job.probes)
    header = next(lines, None)
    # What the header lacks is a setting that came later.
    if header is not None and (other := [name for name, value in _identity(job).items() if header.get(name, value) != value]):
        raise AutoToolError(
            f"{job.probes} holds probes with other settings ({', '.join(other)}): give another --out, or remove it."
        )
    keys = {str(folder): _key(folder) for folder in job.rounds}
    for line in lines:
        # Lines of older code have no fingerprint, and are taken for those of the same weights.
        checkpoint = str(line["checkpoint"])
        key = str(line.get("contents") or keys.get(checkpoint, checkpoint))
        done[line["round"], key][line["id"]] = line
    return done


def _identity(job: ProbeJob) -> dict[str, Any]:
    """Return all that the rewards of a round depend on, except its checkpoint."""
    objective = job.rl.objective
    return {
        "records": records_digest(job.records),
        "group": job.settings.group,
        "seed": job.seed,
        "max_prompt_tokens": job.rl.max_prompt_tokens,
        "max_response_tokens": job.rl.max_response_tokens,
        "rewards": job.rl.reward_names or _built_in_rewards(objective),
        "length_bonus": objective.length_bonus,
        "dtype": job.loading.dtype,
    }


def _built_in_rewards(objective: ObjectiveSettings) -> Any:
    return objective.length_penalty if objective.variant == "length-penalty" else objective.rewards.model_dump()


class _ProbeRound:
    """The groups of rollouts of one checkpoint. A record whose prompt is too long has an empty group."""

    def __init__(self, job: ProbeJob, number: int, folder: Path, done: _ProbedGroups, progress: Progress) -> None:
        self._job, self._number, self._folder, self._done, self._progress = job, number, folder, done, progress
        self._contents = fingerprint(folder)
        self._bar = progress.add_task("", total=len(job.records))
        self._show()

    def run(self, appender: jsonl.Appender) -> None:
        """Make the groups that the file does not hold yet."""
        left = [record for record in self._job.records if record.id not in self._done]
        if not left:
            return
        roller = self._sampler()
        for record in left:
            if not roller.fits(record):
                self._keep(appender, record, ())
        left = [record for record in left if record.id not in self._done]
        size = max(1, self._job.settings.batch // self._job.settings.group)
        for start in range(0, len(left), size):
            part = left[start : start + size]
            for record, group in zip(part, roller.groups(part, self._seed(part[0])), strict=True):
                self._keep(appender, record, group)
            self._show()

    def _sampler(self) -> "_RolloutSampler":
        job, folder = self._job, self._folder
        if job.settings.urls:
            return _RolloutSampler(load_tokenizer(folder), job, ServerSampler(job.settings.urls[self._number]))
        return _RolloutSampler(load_step(folder, job.bases.get(folder, job.base), job.loading), job)

    def _keep(self, appender: jsonl.Appender, record: Record, group: Sequence[Scored]) -> None:
        line = self._done[record.id] = self._line(record, group)
        appender.write(line)

    def _line(self, record: Record, group: Sequence[Scored]) -> dict[str, Any]:
        rewards, right = [scored.reward for scored in group], sum(scored.right for scored in group)
        made_by = {"round": self._number, "checkpoint": str(self._folder), "contents": self._contents}
        return {**made_by, "id": record.id, "rewards": rewards, "right": right}

    def _seed(self, first: Record) -> int:
        """Return the seed of a batch, which is the same in a resumed run that comes to the same batch."""
        text = f"{self._job.seed}/{self._number}/{first.id}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])

    def _show(self) -> None:
        rollouts = sum(len(line["rewards"]) for line in self._done.values())
        share = f"{sum(line['right'] for line in self._done.values()) / rollouts:.1%} right" if rollouts else "starting"
        self._progress.update(self._bar, completed=len(self._done), description=f"{self._folder}: {share}")


class _RolloutSampler:
    """Samples and scores the rollouts of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, job: ProbeJob, server: ServerSampler | None = None) -> None:
        self._server = server
        self._model = checkpoint.model if server else checkpoint.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._eos = [checkpoint.tokenizer.eos_token_id]
        self._writer = ExampleWriter(checkpoint.tokenizer, checkpoint.profile, self._eos[0])
        self._reader = TrajectoryReader(checkpoint.tokenizer, checkpoint.profile, self._eos)
        self._max_prompt_tokens = job.rl.max_prompt_tokens
        self._max_tokens, self._group = job.rl.max_response_tokens, job.settings.group
        self._scorer = RolloutScorer(self._reader, job.rl.objective, self._max_tokens)
        self._own_reward = load_rewards(job.rl)
        self._share = job.rl.share and not server
        if self._share:
            enable(self._model)

    def fits(self, record: Record) -> bool:
        """Return whether the record's prompt is short enough."""
        return self._writer.fits(record, self._max_prompt_tokens)

    def groups(self, records: Sequence[Record], seed: int) -> Iterator[list[Scored]]:
        """Yield each record's group, scored."""
        prompts = [prompt for record in records for prompt in [self._writer.prompt(record)] * self._group]
        responses = self._responses(prompts, seed)
        for index, record in enumerate(records):
            gold = [Call(call.name, call.arguments) for call in record.calls]
            rollouts = responses[index * self._group : (index + 1) * self._group]
            prompt = prompts[index * self._group]
            scored = [self._scorer.score(prompt, response, record.tools, gold) for response in rollouts]
            yield self._own_reward.apply([record] * len(scored), scored) if self._own_reward else scored

    def _responses(self, prompts: list[list[int]], seed: int) -> list[list[int]]:
        decision = self._reader.decision
        if self._server:
            return self._server.sample_deciding(prompts, self._max_tokens, [decision.long, decision.short], seed=seed)
        with force_decision_token(self._model, decision, share=self._share), without_kv_copies(self._model):
            return sample(self._model, prompts, self._max_tokens, self._eos, seed=seed)


def _split_by_length(records: Sequence[Record], probed: Sequence[_ProbedGroups]) -> tuple[list[Record], list[Record]]:
    """Return the records whose prompt was too long in a round, and the others."""
    long = {record.id for record in records if not all(groups[record.id]["rewards"] for groups in probed)}
    return [record for record in records if record.id in long], [record for record in records if record.id not in long]


def _rates(job: ProbeJob, rounds: Sequence[_ProbedGroups], rate: Callable[[dict[str, Any]], float]) -> list[list[float]]:
    """Return the rates (records, rounds)."""
    return [[rate(groups[record.id]) for groups in rounds] for record in job.records]


def _accuracy(line: dict[str, Any]) -> float:
    return line["right"] / len(line["rewards"])


def _reward_rate(job: ProbeJob, rounds: Sequence[_ProbedGroups] = ()) -> Callable[[dict[str, Any]], float]:
    low, high = _seen_range(rounds) if job.rl.reward_names else reward_range(job.rl.objective)
    # Scaled before summing, so that the best rate is exactly 1, by which `select_records` finds the too easy records.
    return lambda line: sum((reward - low) / (high - low) for reward in line["rewards"]) / len(line["rewards"])


def _seen_range(rounds: Sequence[_ProbedGroups]) -> tuple[float, float]:
    """Return the lowest and the highest reward that there was: those that are possible are known of the table alone."""
    seen = [reward for groups in rounds for line in groups.values() for reward in line["rewards"]]
    if min(seen) == max(seen):
        raise AutoToolError("Every rollout got the same reward, so that no record is better than another: look at rl.reward.")
    return min(seen), max(seen)


def _counts(records: Sequence[Record], kept: frozenset[int], verdicts: Sequence[str]) -> Counts:
    counts = Counts("Refinement")
    for index, (record, verdict) in enumerate(zip(records, verdicts, strict=True)):
        counts.seen[record.source] += 1
        (counts.kept if index in kept else counts.dropped)[record.source][verdict] += 1
    return counts
