"""From a base model to the checkpoint that is served: markers, adapter, and profile and chat template beside the weights."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from tokenizers import AddedToken, Regex
from tokenizers.pre_tokenizers import Sequence, Split
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from autotool_server.default_model import DATA_FILES, say, sources

MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


def build(scratch: Path, adapter: Path | None) -> Path:
    """Make the default checkpoint in a folder below `scratch`, which also takes the download, and return that folder.

    `adapter`: the folder of what is merged into the weights; None for the base alone.
    """
    model, tokenizer = sources.load(scratch)
    prepare_base(model, tokenizer)
    if adapter is not None:
        model = merge(model, adapter)
    checkpoint = scratch / "checkpoint"
    say("Writing the prepared checkpoint (0.54 GB) ...")
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    package = resources.files("autotool_server.default_model")
    for name in DATA_FILES:
        (checkpoint / name).write_bytes(package.joinpath(name).read_bytes())
    return checkpoint


def prepare_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a base model the markers of the think block and of tool calls as tokens of their own, in place.

    A new token starts as the mean of the embeddings of the pieces that it replaces, so the model's behaviour hardly moves.
    Serving the default model and training both start here. Doing it twice changes nothing.
    """
    pieces = {marker: tokenizer.encode(marker, add_special_tokens=False) for marker in MARKERS}
    # Not special: they are text that the parser reads, and `skip_special_tokens` must not hide them.
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])  # pyright: ignore[reportArgumentType] transformers wraps the same class
    _keep_separator_whole(tokenizer)
    vocabulary = tokenizer.get_vocab()
    _start_from_means(model, {vocabulary[marker]: ids for marker, ids in pieces.items()})
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )


def merge(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """A prepared base with an adapter merged into its weights."""
    # Unless told, PEFT reads the adapter onto a GPU where there is one, away from the model.
    return PeftModel.from_pretrained(model, str(adapter), torch_device="cpu").merge_and_unload()


@torch.no_grad()
def _start_from_means(model: PreTrainedModel, pieces: Mapping[int, list[int]]) -> None:
    """Set the embedding of each token id to the mean of the pieces' embeddings."""
    # Some models have rows to spare: never shrink.
    rows = max(*pieces, cast("torch.nn.Embedding", model.get_input_embeddings()).num_embeddings - 1) + 1
    model.resize_token_embeddings(rows, mean_resizing=False)
    # Tied embeddings are one tensor, and writing it twice does no harm.
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight = cast("torch.nn.Linear", layer).weight
        for token_id, ids in pieces.items():
            weight[token_id] = weight[ids].mean(dim=0)


def _keep_separator_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    r"""Make `</think>\n\nHi` the tokens of `</think>`, `\n\n` and `Hi`, where byte-level BPE would cut `\n\n` in two.

    The response prefix is injected as tokens; without this, a conversation rendered again from its messages would differ
    from what was generated right after the prefix, and the engine's prefix cache would miss.
    """
    separator = tokenizer.encode("</think>\n\n", add_special_tokens=False)
    if tokenizer.encode("</think>\n\nHi", add_special_tokens=False)[: len(separator)] == separator:
        return
    # \A is the start of the text or of what follows an added token: elsewhere the model meets the tokens it was trained on.
    split = Split(Regex(r"\A\n\n"), "isolated")
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([split, backend.pre_tokenizer])
