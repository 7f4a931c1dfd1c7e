"""Read a base from its GGUF file: weights in full precision, and the tokenizer that the base was trained with."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerFast

from autotool_server.default_model.bases import Base

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def load(base: Base, file: Path) -> Loaded:
    """Return the unchanged model in the base's precision, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=getattr(torch, base.dtype), quantization_config=GgufConfig(dequantize=True)
    )
    if not model.config.tie_word_embeddings:
        _tie(model)
    return model, load_tokenizer(base, file)


def load_tokenizer(base: Base, file: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer alone, which is in the file's header."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return _split_digits(tokenizer) if base.family == "smollm2" else _restore_qwen(tokenizer)


def _tie(model: PreTrainedModel) -> None:
    """Give a model one matrix for its input and its output, as all of these bases have.

    A file that has it twice has rounded it to five bits for the input and to eight for the output, whose is kept.
    """
    model.get_input_embeddings().weight = model.get_output_embeddings().weight  # pyright: ignore[reportOptionalMemberAccess]
    model.config.tie_word_embeddings = True


def _split_digits(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    # transformers does not read the pre-tokenizer that the GGUF names ("smollm"): single digits, then GPT-2's rule.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    return tokenizer


def _restore_qwen(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Add the normaliser, which a GGUF does not have, and drop the tokens that its writer made for the spare rows."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    state["model"]["vocab"] = {token: number for token, number in vocabulary.items() if token != f"[PAD{number}]"}
    backend = Tokenizer.from_str(json.dumps(state))
    backend.normalizer = NFC()
    names = ("bos_token", "eos_token", "pad_token", "chat_template")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{name: getattr(tokenizer, name) for name in names})
