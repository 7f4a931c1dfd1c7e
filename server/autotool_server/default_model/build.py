"""Build the served checkpoint from the base model: add the markers, merge the adapter, add profile and chat template."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from tokenizers import AddedToken, Regex
from tokenizers.pre_tokenizers import Sequence, Split
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from autotool_server.default_model import report_progress, sources
from autotool_server.default_model.bases import MARKERS, Base


def build(base: Base, downloads: Path, scratch: Path, adapter: Path | None) -> Path:
    """Build a checkpoint in a folder below `scratch`, and return that folder.

    `downloads`: the folder of what is fetched. `adapter`: the folder of the adapter to merge; None for the base alone.
    """
    model, tokenizer = sources.load_base(base, downloads)
    prepare_base(model, tokenizer)
    if adapter is not None:
        model = merge(model, adapter)
    checkpoint = scratch / "checkpoint"
    report_progress("Writing the prepared checkpoint ...")
    model.save_pretrained(checkpoint)
    _save_tokenizer(base, tokenizer, checkpoint, adapter)
    return checkpoint


def build_tokenizer(base: Base, downloads: Path, scratch: Path, adapter: Path | None) -> Path:
    """Build the checkpoint without its weights and their config: what renders prompts and reads tokens. Else like `build`."""
    tokenizer = sources.load_tokenizer(base, downloads)
    prepare_tokenizer(tokenizer)
    folder = scratch / "checkpoint"
    _save_tokenizer(base, tokenizer, folder, adapter)
    _generation_config(tokenizer).save_pretrained(folder)
    return folder


def _save_tokenizer(base: Base, tokenizer: PreTrainedTokenizerFast, folder: Path, adapter: Path | None) -> None:
    tokenizer.save_pretrained(folder)
    for name, file in base.data_files(adapter).items():
        (folder / name).write_bytes(file.read_bytes())


def prepare_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Add the markers of the think block and of tool calls to a base model as single tokens, in place.

    A new token starts as the mean of the embeddings of the pieces that it replaces, so the model's behaviour hardly changes.
    Both serving the default model and training start here. A second call changes nothing.
    """
    pieces = prepare_tokenizer(tokenizer)
    vocabulary = tokenizer.get_vocab()
    _set_to_means(model, {vocabulary[marker]: ids for marker, ids in pieces.items()})
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.generation_config = _generation_config(tokenizer)


def prepare_tokenizer(tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """Add the markers to a base's tokenizer as single tokens, in place, and return the pieces that each replaces."""
    pieces = {marker: tokenizer.encode(marker, add_special_tokens=False) for marker in MARKERS}
    # Not special tokens: the parser reads them as text, and `skip_special_tokens` must not remove them.
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])  # pyright: ignore[reportArgumentType] transformers wraps the same class
    _split_separator(tokenizer)
    return pieces


def _generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,  # it calls tools, and the likeliest call is right more often than one that is drawn
    )


def merge(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """Return a prepared base with an adapter merged into its weights."""
    # By default PEFT loads the adapter onto a GPU if there is one, but the model is on the CPU.
    return PeftModel.from_pretrained(model, str(adapter), torch_device="cpu").merge_and_unload()


@torch.no_grad()
def _set_to_means(model: PreTrainedModel, pieces: Mapping[int, list[int]]) -> None:
    """Set the embedding of each token id to the mean of the pieces' embeddings."""
    # Some models have spare rows, which stay.
    rows = max(*pieces, cast("torch.nn.Embedding", model.get_input_embeddings()).num_embeddings - 1) + 1
    model.resize_token_embeddings(rows, mean_resizing=False)
    # Tied embeddings are one tensor. Setting it twice gives the same result.
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight = cast("torch.nn.Linear", layer).weight
        for token_id, ids in pieces.items():
            weight[token_id] = weight[ids].mean(dim=0)


def _split_separator(tokenizer: PreTrainedTokenizerFast) -> None:
    r"""Tokenize `</think>\n\nHi` as `</think>`, `\n\n` and `Hi`, where byte-level BPE would split `\n\n` in two.

    The response prefix is injected as tokens. Without this rule the tokens of a conversation rendered from its messages would
    differ from those that were generated after the prefix, and the engine's prefix cache would miss.
    """
    separator = tokenizer.encode("</think>\n\n", add_special_tokens=False)
    if tokenizer.encode("</think>\n\nHi", add_special_tokens=False)[: len(separator)] == separator:
        return
    # \A matches at the start of the text and after an added token. Elsewhere the tokens stay those of the base's training.
    split = Split(Regex(r"\A\n\n"), "isolated")
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([split, backend.pre_tokenizer])
