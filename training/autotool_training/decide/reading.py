"""What a checkpoint says behind the prefix of `auto`, where it decides: the log-probabilities of the next token."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import DecisionTokens, PromptRenderer
from autotool_server import default_model
from autotool_server.engines import profiles
from autotool_server.engines.checkpoint import read_tokenizer
from autotool_training.common.records import Record

CHOOSING = 256
"""Records by which the tokens to read are chosen. Of the others only these tokens are kept: a vocabulary has 150,000."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The log-probabilities (nats) of some tokens at the decisions of several records."""

    tokens: tuple[int, ...]
    """Ids, the decision tokens of long and short first."""
    logprobs: Tensor
    """Shape (records, tokens), float64."""


class DecidingCheckpoint:
    """A checkpoint as it is served: unlike a base that is prepared for training, it gets no token and no chat template.

    `source`: a folder, a hub id or a name that `autotool serve` knows. Raises AutoToolError if it cannot be loaded, or cannot
    decide by one token.
    """

    def __init__(self, source: str) -> None:
        path = default_model.resolve(source)
        try:
            tokenizer: Any = read_tokenizer(path)
            model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto" if torch.cuda.is_available() else "float32")
        except (OSError, ValueError) as error:
            raise AutoToolError(f"--checkpoint {source}: name a checkpoint's folder or hub id.") from error
        self.profile: Profile = profiles.find(None, path, tokenizer).profile.without_decision()
        self._model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._renderer = PromptRenderer(tokenizer, self.profile)
        if self._renderer.decision_tokens is None:
            raise AutoToolError(f"{source} cannot be trained to decide: {self._renderer.refusals[Mode.AUTO]}")
        self.decision: DecisionTokens = self._renderer.decision_tokens
        self._vocabulary = len(tokenizer)

    def prompt(self, record: Record) -> list[int]:
        """Return the prompt's token ids, which are the server's, the prefix of `auto` included."""
        return self._renderer.render(record.messages, record.tools, Mode.AUTO)

    def read(self, prompts: Iterable[list[int]], number: int) -> Readings:
        """Return the log-probabilities of the `number` likeliest tokens, and of the decision tokens."""
        rows: list[Tensor] = []
        tokens: list[int] = []
        for prompt in prompts:
            logprobs = self._next(prompt)
            rows.append(logprobs[tokens] if tokens else logprobs)
            if len(rows) == CHOOSING and not tokens:
                tokens = self._choose(rows, number)
                rows = [row[tokens] for row in rows]
        if not tokens:
            tokens = self._choose(rows, number)
            rows = [row[tokens] for row in rows]
        return Readings(tuple(tokens), torch.stack(rows).double())

    @torch.inference_mode()
    def _next(self, prompt: list[int]) -> Tensor:
        # One prompt at a time: what padding does to others differs between models.
        ids = torch.tensor([prompt], device=self._model.device)
        logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
        return logits.float().log_softmax(-1).cpu()

    def _choose(self, rows: list[Tensor], number: int) -> list[int]:
        """Return the decision tokens, and the tokens that are likeliest on average: engines tell these apart most precisely."""
        pair = [self.decision.long, self.decision.short]
        means = torch.stack(rows).mean(0)[: self._vocabulary]
        means[[0, *pair]] = -torch.inf  # 0: `DecisionHead.tokens`
        return [*pair, *means.topk(min(number, len(means) - 3)).indices.tolist()]
