"""Measures the result in the three modes, and the base: greedy answers to held-out turns, right or wrong as RL takes them."""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.table import Table

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.progress import progress_bar
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.records import Record
from autotool_training.common.sampling import sample
from autotool_training.rl.reward import is_right
from autotool_training.rl.rollout import force_decision_token
from autotool_training.rl.trajectory import TrajectoryReader

BASE = "base"
"""Names the result of the base, before training and in `short`: it has not learnt to choose."""


@dataclass(frozen=True, slots=True)
class ModeResult:
    """What a mode reaches. A turn whose right answer is text counts as right if it is answered without a call."""

    mode: str
    """A mode of the trained checkpoint, or BASE."""
    turns: int
    right: int
    call_turns: int
    """Turns whose right answer makes calls."""
    right_calls: int
    """Those of them that were right: the same calls with the same arguments."""
    tokens: int
    """Tokens of all answers, with their think blocks and without the prompts."""
    long: int
    """Answers with a think block."""


@dataclass(frozen=True, slots=True)
class _Answer:
    right: bool
    calls: bool
    tokens: int
    long: bool


class Measurement:
    """A checkpoint and the turns that it answers, `batch` at once, in at most `max_tokens` tokens each."""

    def __init__(self, checkpoint: Checkpoint, records: Sequence[Record], *, max_tokens: int, batch: int) -> None:
        self._model = checkpoint.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._eos = [checkpoint.tokenizer.eos_token_id]
        self._writer = ExampleWriter(checkpoint.tokenizer, checkpoint.profile, self._eos[0])
        self._reader = TrajectoryReader(checkpoint.tokenizer, checkpoint.profile, self._eos)
        self._max_tokens, self._batch = max_tokens, batch
        # Of like lengths together, so that little is padded.
        self._records = sorted(records, key=lambda record: len(self._writer.prompt(record)))

    def of_each_mode(self) -> list[ModeResult]:
        """Return the result of each mode."""
        return self._results({mode.value: mode for mode in (Mode.AUTO, Mode.LONG, Mode.SHORT)})

    def of_base(self) -> list[ModeResult]:
        """Return the one result of a checkpoint that is the base."""
        return self._results({BASE: Mode.SHORT})

    def _results(self, modes: Mapping[str, Mode]) -> list[ModeResult]:
        """Return the results of modes by the names that they get."""
        with progress_bar() as progress:
            bars = {name: progress.add_task(name, total=len(self._records)) for name in modes}
            results: list[ModeResult] = []
            for name, mode in modes.items():
                answers: list[_Answer] = []
                for start in range(0, len(self._records), self._batch):
                    answers += self._answers(self._records[start : start + self._batch], mode)
                    progress.update(bars[name], completed=len(answers))
                results.append(_result(name, answers))
        return results

    def _answers(self, records: Sequence[Record], mode: Mode) -> Iterator[_Answer]:
        """Yield the answers in a mode: the forced ones follow its decision token, as the server writes it."""
        prefix = [] if mode is Mode.AUTO else [*self._writer.response_prefixes[ResolvedMode(mode)]]
        prompts = [self._writer.prompt(record) for record in records]
        with self._deciding(mode):
            responses = sample(self._model, [prompt + prefix for prompt in prompts], self._max_tokens, self._eos, temperature=0)
        for record, prompt, response in zip(records, prompts, responses, strict=True):
            read = self._reader.read(prompt, prefix + response, record.tools)
            gold = [Call(call.name, call.arguments) for call in record.calls]
            length = len(prefix) + len(response)
            yield _Answer(is_right(read, gold), bool(gold), length, read.mode is ResolvedMode.LONG)

    def _deciding(self, mode: Mode) -> AbstractContextManager[None]:
        return force_decision_token(self._model, self._reader.decision) if mode is Mode.AUTO else nullcontext()


def _result(name: str, answers: Sequence[_Answer]) -> ModeResult:
    calls = [answer for answer in answers if answer.calls]
    return ModeResult(
        mode=name,
        turns=len(answers),
        right=sum(answer.right for answer in answers),
        call_turns=len(calls),
        right_calls=sum(answer.right for answer in calls),
        tokens=sum(answer.tokens for answer in answers),
        long=sum(answer.long for answer in answers),
    )


def free_memory() -> None:
    """Free what models held that are no longer used, before another one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def write_results(path: Path, results: Iterable[ModeResult]) -> None:
    """Write the results as a JSON list."""
    with jsonl.atomic_write(path) as part:
        part.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> list[ModeResult]:
    """Return the results that a file holds."""
    return [ModeResult(**result) for result in json.loads(path.read_text(encoding="utf-8"))]


def table(results: Sequence[ModeResult]) -> Table:
    """Return the results as a table with a row each."""
    calls, turns = results[0].call_turns, results[0].turns
    made = Table("mode", title=f"{turns} held-out turns, {calls} of them with calls")
    for column in ("right", "calls right", "tokens an answer", "thinking rate"):
        made.add_column(column, justify="right")
    for result in results:
        shares = (result.right / max(turns, 1), result.right_calls / max(calls, 1))
        right = (f"{share:.1%}" for share in shares)
        made.add_row(result.mode, *right, f"{result.tokens / max(turns, 1):.1f}", f"{result.long / max(turns, 1):.0%}")
    return made
