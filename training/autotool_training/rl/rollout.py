"""Rollouts by transformers in `auto`: the first token is one of the two decision tokens, as on the server.

vLLM and transformers' continuous batching cannot constrain the first token alone, so their rollouts sample it freely; a
token other than a decision token makes the trajectory malformed, hence wrong. After SFT the two have nearly all of the
probability.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import FloatTensor, LongTensor, Tensor
from transformers import LogitsProcessor

from autotool_core.prompt import DecisionTokens
from autotool_training.common.shared_decoding import generate_shared


class _DecisionTokenOnly(LogitsProcessor):
    """Allows only the decision tokens in the first step of one generation; with `halved_group` one of them for each half.

    The rollouts of a group of that size follow each other. Its first half is long.
    """

    def __init__(self, decision: DecisionTokens, halved_group: int | None = None) -> None:
        self._allowed = [decision.long, decision.short]
        self._halved_group = halved_group
        self._first = True

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        if not self._first:
            return scores
        self._first = False
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        if self._halved_group is None:
            forbidden[:, self._allowed] = False
        else:
            place = torch.arange(len(scores), device=scores.device) % self._halved_group
            allowed = torch.tensor(self._allowed, device=scores.device)[(place >= self._halved_group // 2).long()]
            forbidden.scatter_(1, allowed.unsqueeze(1), False)
        scores.masked_fill_(forbidden, -torch.inf)
        return scores


class LogpRecorder(LogitsProcessor):
    """Records the log-probabilities of the tokens that are decoded, before any of them is forbidden."""

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, Tensor]] = []
        self._rows: Tensor | None = None
        self._last: Tensor | None = None

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        if self._last is None or self._rows is None:
            self._rows = torch.arange(len(scores), device=scores.device)
        else:
            self._steps.append((self._rows, self._last.gather(1, input_ids[:, -1:]).squeeze(1)))
        self._last = torch.log_softmax(scores, -1, dtype=torch.float32)
        return scores

    def keep_rows(self, indices: Tensor) -> None:
        """Go on with these of the rows that are decoded; the others have ended."""
        if self._last is not None and self._rows is not None:
            self._last, self._rows = self._last[indices], self._rows[indices]

    def take(self, width: int) -> Tensor | None:
        """Return what was recorded (B, width), and forget it; None if nothing was.

        NaN stands for what is not known: the last token that was decoded of a row. What is recorded of padding means nothing.
        """
        steps, self._steps, self._last, self._rows = self._steps, [], None, None
        if not steps:
            return None
        known = steps[0][1].new_full((len(steps[0][0]), width), torch.nan)
        for at, (rows, logps) in enumerate(steps[:width]):
            known[rows, at] = logps
        return known


@contextmanager
def force_decision_token(
    model: Any,
    decision: DecisionTokens,
    *,
    share: bool = False,
    recorder: LogpRecorder | None = None,
    halved_group: int | None = None,
) -> Generator[None]:
    """Let `model.generate` start with a decision token. `model` is the base model within any adapter.

    The method of the instance is replaced, because TRL 1.16 calls it without a way to add a logits processor.

    With `share` (after `prefix_sharing.enable`) equal prompts are computed once. `halved_group` is the number of rollouts of a
    group of which half are made to be long and half to be short.
    """
    processors = [*([recorder] if recorder else []), _DecisionTokenOnly(decision, halved_group)]
    generate = partial(model.generate, logits_processor=processors)
    keep = recorder.keep_rows if recorder else None
    model.generate = partial(generate_shared, model, generate, keep) if share else generate
    try:
        yield
    finally:
        del model.generate
