"""Measures the checkpoints of graded-free runs on 1,400 graded tasks, 600 of them of the hard levels.

    python training/recipes/graded_free_measure.py dev free/sft-0
    python training/recipes/graded_free_measure.py dev free/grpo-0

The first word is the split. Of the folder of `autotool train sft` the result is measured, as step 0, and of one of `rl` the
checkpoints of every 50 steps. A run of RL gets step 0 from the folder that it starts from, which has to be measured before. A
line of RUN/measured-SPLIT.jsonl has one checkpoint; what the file holds already is not measured again.

Each task is answered in both modes, greedily for the accuracy, and once more at temperature 1, as in RL, for entropies and
lengths. The answer in `auto` is that of the mode whose decision token is the likelier one. Forced answers to all tasks have
the advantage that a change of the decision does not change which tasks the entropies and lengths are of.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, Split, Task, generate
from autotool_core.modes import ResolvedMode
from autotool_training.common.checkpoint import Checkpoint, load_checkpoint, load_step, numbered_checkpoints
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.prefix_sharing import without_kv_copies
from autotool_training.common.records import Record
from autotool_training.common.resume import stored_run
from autotool_training.common.sampling import sample
from autotool_training.common.shared_decoding import sharing
from autotool_training.data.sources import graded
from autotool_training.rl.entropy import measure_tokens
from autotool_training.rl.reward import RolloutScorer, Scored
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import TrajectoryReader

HARD = (5, 6)
"""The levels at which an answer without reasoning is seldom right."""
TASKS: Mapping[int, int] = {1: 200, 2: 200, 3: 200, 4: 200, 5: 300, 6: 300}
"""Tasks of each level."""
EVERY = 50
"""Steps between two checkpoints that are measured."""
BATCH = 150
MAX_TOKENS = 256
SEED = 0


def main(split: str, *runs: str) -> None:
    """Measure what is not measured yet of the checkpoints of each run."""
    tasks = [graded.record(task) for level in LEVELS for task in _tasks(split, level)]
    for run in map(Path, runs):
        out = run / f"measured-{split}.jsonl"
        done = {line["step"] for line in jsonl.read(out)}
        for step, folder in checkpoints(run):
            if step not in done:
                line = start(run, split) if folder is None else figures(load_step(folder, lambda run=run: base_of(run)), tasks)
                with jsonl.Appender(out) as appender:
                    appender.write({**line, "step": step})
                plain_console().print(f"{run} {step}: {summary(line)}", soft_wrap=True)


def checkpoints(run: Path) -> Iterator[tuple[int, Path | None]]:
    """Yield step and folder of each checkpoint to measure, in order; None for that which RL has started from."""
    if (stored_run(run) or {}).get("stage") != "rl":
        yield 0, run
        return
    yield 0, None
    for folder in numbered_checkpoints(run / "steps"):
        step = int(folder.name.rpartition("-")[2])
        if step % EVERY == 0:
            yield step, folder


def start(run: Path, split: str) -> dict[str, Any]:
    """Return what was measured of the checkpoint that a run has started from. Raises AutoToolError if nothing was."""
    base = (stored_run(run) or {})["base"]
    measured = list(jsonl.read(Path(base) / f"measured-{split}.jsonl"))
    if not measured:
        raise AutoToolError(f"{base}, from which {run} has started, is not measured: do that first.")
    return measured[-1]


def base_of(run: Path) -> Checkpoint:
    """Load what a run has started from, of which its checkpoints may be adapters."""
    return load_checkpoint((stored_run(run) or {})["base"])


def _tasks(split: str, level: int) -> Iterator[Task]:
    return islice(generate(cast("Split", split), level), TASKS[level])


def figures(checkpoint: Checkpoint, tasks: Sequence[Record]) -> dict[str, Any]:
    """Return the figures of a checkpoint; lists have a value for each task, in order."""
    answerer = Answerer(checkpoint)
    line: dict[str, Any] = {"level": [task.level for task in tasks]}
    for mode in (ResolvedMode.LONG, ResolvedMode.SHORT):
        line[f"right_{mode}"] = [int(scored.right) for scored, _, _ in answerer.answers(tasks, mode, temperature=0.0)]
        sampled = answerer.answers(tasks, mode, temperature=1.0)
        # Cut answers are left out of the entropies, as in the objective.
        ended = [ids[-1] in answerer.eos for _, _, ids in sampled]
        whole, think, odds = answerer.entropies([(prompt, ids) for _, prompt, ids in sampled])
        line[f"entropy_{mode}"] = _where(ended, whole)
        line[f"sampled_right_{mode}"] = [int(scored.right) for scored, _, _ in sampled]
        line[f"tokens_{mode}"] = [scored.length for scored, _, _ in sampled]
        if mode is ResolvedMode.LONG:
            line |= {"entropy_think": _where(ended, think), "p_long": odds}
            line["think_tokens"] = [scored.think_length for scored, _, _ in sampled]
    return line


def _where(ended: Sequence[bool], values: Sequence[float | None]) -> list[float | None]:
    return [value if whole else None for value, whole in zip(values, ended, strict=True)]


class Answerer:
    """Answers tasks in a forced mode, and scores the answers as RL does."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.eos = [checkpoint.tokenizer.eos_token_id]
        self._model = checkpoint.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._writer = ExampleWriter(checkpoint.tokenizer, checkpoint.profile, self.eos[0])
        self._reader = TrajectoryReader(checkpoint.tokenizer, checkpoint.profile, self.eos)
        self._scorer = RolloutScorer(self._reader, ObjectiveSettings(variant="grpo"), MAX_TOKENS)

    def answers(
        self, tasks: Sequence[Record], mode: ResolvedMode, *, temperature: float
    ) -> list[tuple[Scored, list[int], list[int]]]:
        """Return the scored answer to each task, with the ids of prompt and answer."""
        torch.manual_seed(SEED)
        prefix = [*self._writer.response_prefixes[mode]]
        made: list[tuple[Scored, list[int], list[int]]] = []
        for start in range(0, len(tasks), BATCH):
            part = tasks[start : start + BATCH]
            prompts = [self._writer.prompt(task) for task in part]
            with without_kv_copies(self._model), sharing(self._model):
                begun = [prompt + prefix for prompt in prompts]
                responses = sample(self._model, begun, MAX_TOKENS - len(prefix), self.eos, temperature=temperature)
            for task, prompt, response in zip(part, prompts, responses, strict=True):
                gold = [Call(call.name, call.arguments) for call in task.calls]
                ids = prefix + response
                made.append((self._scorer.score(prompt, ids, task.tools, gold), prompt, ids))
        return made

    def entropies(
        self, rollouts: Sequence[tuple[list[int], list[int]]]
    ) -> tuple[list[float | None], list[float | None], list[float]]:
        """Return H_i, that of the think block alone (None without one) and the probability of the answer's mode.

        Rollouts are pairs of prompt and answer, and all answers have a decision token.
        """
        decisions = [self._reader.decision.long, self._reader.decision.short]
        whole: list[float | None] = []
        think: list[float | None] = []
        odds: list[float] = []
        for (_, answer), (entropy, probability) in zip(rollouts, measure_tokens(self._model, rollouts, decisions), strict=True):
            inside = entropy[self._reader.think_mask(torch.tensor([answer]))[0]]
            whole.append(round(entropy.mean().item(), 5))
            think.append(round(inside.mean().item(), 5) if len(inside) else None)
            odds.append(round(probability.item(), 5))
        return whole, think, odds


def summary(line: dict[str, Any]) -> str:
    """Return the figures of a line in words, accuracy by level and at the hard levels."""
    names = ("entropy_long", "entropy_think", "entropy_short", "think_tokens", "p_long")
    parts = [f"{name} {mean(line[name]):.3f}" for name in names]
    parts.append(f"cut {100 * line['entropy_long'].count(None) / len(line['entropy_long']):.1f} %")
    shares = ("right_long", "right_short", "p_long")
    levels = [f"{name} {' '.join(f'{100 * share:.0f}' for share in by_level(line, name))}" for name in shares]
    hard = [f"hard {name} {100 * mean(at_hard_levels(line, name)):.1f} %" for name in ("right_long", "right_short")]
    return ", ".join([*parts, *levels, *hard])


def at_hard_levels(line: dict[str, Any], name: str) -> list[float]:
    """Return the values of the tasks of the hard levels."""
    return [value for value, level in zip(line[name], line["level"], strict=True) if level in HARD]


def by_level(line: dict[str, Any], name: str) -> list[float]:
    """Return the mean of each level."""
    levels = line["level"]
    return [mean([value for value, its in zip(line[name], levels, strict=True) if its == level]) for level in LEVELS]


def mean(values: Sequence[float | None]) -> float:
    """Return the mean of the values that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


if __name__ == "__main__":
    main(*sys.argv[1:])
