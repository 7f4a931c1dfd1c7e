"""A tiny random model, and a tokenizer trained on the texts of graded tasks."""

import functools
from collections.abc import Iterator
from importlib import resources
from itertools import islice
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast

from autotool_core.graded import LEVELS, generate
from autotool_core.profile import BUILTIN
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import answer_text
from autotool_training.common.records import GoldCall
from autotool_training.scratch.pretrain import PretrainSettings

PROFILE = BUILTIN["smollm2-autotool"]
TEMPLATE = "templates/tiny.jinja"
PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
WORDS = Regex(r"\n+| ?[A-Za-z_]+| ?\d| ?[^\sA-Za-z_\d]+|\s")
"""Words, digits one by one, runs of newlines, punctuation."""


class ScratchSettings(BaseModel):
    """Sizes of the model, and how it is pretrained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: Literal["llama", "qwen2", "qwen3"] = "llama"
    """The architecture's name in transformers. A dry run uses it too; there it is that of the recipe's base."""
    hidden_size: int = Field(default=160, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=5, ge=1)
    intermediate_size: int = Field(default=448, ge=8)
    vocabulary: int = Field(default=1024, ge=300)
    initial_range: float = Field(default=0.03, gt=0)
    """Standard deviation of the weights at the start. Transformers' 0.02 is for wide models; with 0.06 a model that reads
    short tables does not go on to long texts (docs/experiments/2026-11-23-tiny-model-look-ups.md)."""
    max_position: int = Field(default=1024, ge=64)
    pretrain: PretrainSettings = Field(default=PretrainSettings(), alias="practice")
    """The training of the random model by `autotool train scratch`."""


def make(settings: ScratchSettings, *, seed: int) -> Checkpoint:
    """Return a random model with a tokenizer trained on the texts of graded training tasks."""
    tokenizer = _tokenizer(settings)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        settings.model_type,
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.max_position,
        initializer_range=settings.initial_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return Checkpoint(model, tokenizer, PROFILE)


def _tokenizer(settings: ScratchSettings) -> Any:
    backend = Tokenizer.from_str(_trained(settings.vocabulary))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD)
    tokenizer.chat_template = resources.files("autotool_training").joinpath(TEMPLATE).read_text()
    tokenizer.model_max_length = settings.max_position
    return tokenizer


@functools.cache
def _trained(vocabulary: int) -> str:
    """Return a trained tokenizer as JSON. It is trained once for all checkpoints of the process, and each reads its own."""
    backend = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(WORDS, "isolated"), byte_level])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_corpus(), trainer)
    # The markers are not special tokens, because the parser reads them as text.
    backend.add_tokens([AddedToken(marker, normalized=False) for marker in PROFILE.markers])
    return backend.to_str()


def _corpus() -> Iterator[str]:
    """Yield prompts and answers as the template writes them, without the markers, which are tokens anyway."""
    for level in LEVELS:
        for task in islice(generate("train", level, seed=1), 1000):
            calls = [GoldCall(name=call.name, arguments=dict(call.arguments)) for call in task.calls]
            answer = answer_text(None, calls, PROFILE.tool_format)
            yield f"system\n{task.request}\nuser\nassistant\n\n{task.reasoning}\n\n{answer}"
            yield from (
                ", ".join([tool["function"]["name"], *tool["function"]["parameters"]["properties"]]) for tool in task.tools
            )
