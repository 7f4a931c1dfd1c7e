"""Attempts by a checkpoint in this process: batched generation by transformers over the prompts that the server renders."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from autotool_core.chat_template import ChatTemplate
from autotool_core.detokenizer import Detokenizer
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import collect
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.prompt import PromptRenderer
from autotool_server import default_model
from autotool_server.engines import profiles
from autotool_server.engines.checkpoint import eos_token_ids, read_tokenizer
from autotool_training.common.records import Record
from autotool_training.common.sampling import sample
from autotool_training.label.attempt import LabelAnswer, LabelAttempt, LabelTask
from autotool_training.label.endpoint import SamplingSettings

LONG_PROMPT = "the prompt leaves no room for an answer in the model's context"


class CheckpointSampler:
    """Samples attempts from a checkpoint (folder, hub id or known name), which is loaded at the first attempt.

    Raises AutoToolError if the checkpoint cannot answer in the mode.
    """

    def __init__(self, source: str, mode: ResolvedMode, sampling: SamplingSettings, *, batch: int) -> None:
        self._source, self._mode = source, Mode(mode)
        self._sampling, self._batch = sampling, batch
        self._loaded: _Loaded | None = None

    @property
    def max_attempts(self) -> None:
        return None

    async def attempt(self, tasks: Iterator[LabelTask], done: Callable[[LabelAttempt], None]) -> None:
        # The model is loaded for the first batch, so that a run with nothing left to do loads nothing.
        while batch := list(islice(tasks, self._batch)):
            self._loaded = self._loaded or _Loaded(self._source, self._mode)
            for attempt in self._loaded.answer(batch, self._sampling):
                done(attempt)

    def close(self) -> None:
        self._loaded = None


def reject_unable(source: str, mode: ResolvedMode) -> None:
    """Raise AutoToolError if the checkpoint's template cannot ask for the mode. Only the tokenizer is loaded."""
    source = default_model.resolve(source)
    tokenizer = _tokenizer(source)
    _reject_refused(source, Mode(mode), PromptRenderer(tokenizer, profiles.find(None, source, tokenizer).profile))


def read_template(source: str) -> ChatTemplate:
    """Return the chat template of a checkpoint. Raises AutoToolError if it has none, or cannot be read."""
    source = default_model.resolve(source)
    tokenizer = _tokenizer(source)
    return ChatTemplate(tokenizer, profiles.find(None, source, tokenizer).profile.tool_format)


def _tokenizer(source: str) -> Any:
    try:
        return read_tokenizer(source)
    except (OSError, ValueError) as error:
        raise AutoToolError(f"{source}: name a checkpoint's folder or hub id, a URL or a file of traces.") from error


def _reject_refused(source: str, mode: Mode, renderer: PromptRenderer) -> None:
    if mode in renderer.refusals:
        reason = renderer.refusals[mode]
        raise AutoToolError(f"{source} cannot answer in mode={mode}: {reason} Or give another model by --{mode}.")


class _Loaded:
    """A model, its tokenizer and its profile, ready to answer in a mode."""

    def __init__(self, source: str, mode: Mode) -> None:
        source = default_model.resolve(source)
        try:
            self._tokenizer: Any = read_tokenizer(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype="auto" if torch.cuda.is_available() else "float32")
        except (OSError, ValueError) as error:
            raise AutoToolError(f"{source}: name a checkpoint's folder or hub id, a URL or a file of traces.") from error
        self._model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._profile = profiles.find(None, source, self._tokenizer).profile
        self._renderer = PromptRenderer(self._tokenizer, self._profile)
        self._mode = mode
        self._eos = eos_token_ids(self._model.generation_config.eos_token_id, self._tokenizer)
        self._context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        _reject_refused(source, mode, self._renderer)

    def answer(self, tasks: Sequence[LabelTask], sampling: SamplingSettings) -> Iterator[LabelAttempt]:
        """Yield the attempts of one batch."""
        prompts = [self._renderer.render(task.record.messages, task.record.tools, self._mode) for task in tasks]
        fits = [len(prompt) + sampling.max_tokens <= self._context for prompt in prompts]
        too_long = [task for task, fit in zip(tasks, fits, strict=True) if not fit]
        yield from (LabelAttempt(task.record.id, task.index, None, LONG_PROMPT) for task in too_long)
        fitting = [index for index, fit in enumerate(fits) if fit]
        if not fitting:
            return
        responses = sample(
            self._model,
            [prompts[index] for index in fitting],
            sampling.max_tokens,
            self._eos,
            temperature=sampling.temperature,
            seed=_seed(sampling.seed, tasks[0]),
        )
        for index, response in zip(fitting, responses, strict=True):
            task = tasks[index]
            yield LabelAttempt(task.record.id, task.index, self._read(task.record, prompts[index], response))

    def _read(self, record: Record, prompt: Sequence[int], response: list[int]) -> LabelAnswer:
        end = next((index for index, token in enumerate(response) if token in self._eos), None)
        parser = TurnParser(self._profile, self._profile.prefix(self._mode), record.tools)
        detokenizer = Detokenizer(self._tokenizer, prompt, self._renderer.marker_ids)
        text = detokenizer.push(response[:end]) + detokenizer.finish()
        turn = collect([*parser.feed(text), *parser.finish()])
        whole = end is not None and parser.section is not Section.REASONING
        return LabelAnswer(turn.content, turn.calls, turn.reasoning or None, whole)


def _seed(seed: int, first: LabelTask) -> int:
    """Return the seed of a batch, which is the same in a resumed run that comes to the same batch."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{first.record.id}/{first.index}".encode()).digest()[:7])
