"""Read the tokenizer and the end-of-sequence tokens of a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase, TokenizersBackend

from autotool_core.errors import EngineError
from autotool_core.tokenizer import SAMPLE
from autotool_server.engines.files import find_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "*.tiktoken",
    "tiktoken.model",
)


def eos_token_ids(configured: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that end a turn: those of the generation config (`configured`), then the tokenizer's."""
    listed = [configured] if isinstance(configured, int) else list(configured or ())
    added = tokenizer.eos_token_id
    return tuple(dict.fromkeys([*listed, added] if isinstance(added, int) else listed))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a local folder or hub id. Raises EngineError if there is none."""
    try:
        return read_tokenizer(source)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"No tokenizer could be loaded from {source!r}; name the folder or hub repository of the server's checkpoint."
        ) from error


def read_tokenizer(source: str, **options: Any) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a local folder or hub id, with the `options` of transformers. Raises OSError or ValueError.

    It is never the one of mistral-common, which renders prompts itself and has no chat template. Where a checkpoint has only
    that one's file, the file is converted, and without chat_template.jinja the template is the one that mistral-common writes.
    """
    if Path(source).is_dir() and not any(map(Path(source).glob, TOKENIZER_FILES)):
        raise OSError("The folder has no file of a tokenizer.")  # transformers would make one without a vocabulary
    tekken = find_file(source, "tekken.json")
    if tekken is not None and find_file(source, "tokenizer.json") is None:
        # The module imports a library that takes half a second.
        from transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer  # noqa: PLC0415

        return convert_tekken_tokenizer(tekken)
    tokenizer = AutoTokenizer.from_pretrained(source, mistral_format=False, **options)
    return tokenizer if is_faithful(tokenizer, source) else TokenizersBackend.from_pretrained(source, **options)


def is_faithful(tokenizer: PreTrainedTokenizerBase, source: str) -> bool:
    """Return whether a tokenizer reads texts as the tokenizer.json of its checkpoint does, if there is one.

    Some classes of transformers build a normaliser and a pre-tokenizer of their own in place of the file's. The one of Llama
    drops the spaces of a vocabulary of bytes, such as that of DeepSeek-R1's distilled models.
    """
    path = find_file(source, "tokenizer.json")
    if path is None or type(tokenizer) is TokenizersBackend:
        return True
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is None or _ids(backend) == _ids(Tokenizer.from_file(path))


def _ids(backend: Tokenizer) -> list[int]:
    return backend.encode(SAMPLE, add_special_tokens=False).ids


def configured_eos(source: str) -> int | list[int] | None:
    """Return the end-of-sequence ids of the generation config of a local folder or hub id; None without such a file."""
    try:
        return GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:
        return None
