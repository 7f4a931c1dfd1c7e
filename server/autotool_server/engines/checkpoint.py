"""Read the tokenizer and the end-of-sequence tokens of a checkpoint."""

from collections.abc import Sequence

from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from autotool_core.errors import EngineError


def eos_token_ids(configured: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that end a turn: those of the generation config (`configured`), then the tokenizer's."""
    listed = [configured] if isinstance(configured, int) else list(configured or ())
    added = tokenizer.eos_token_id
    return tuple(dict.fromkeys([*listed, added] if isinstance(added, int) else listed))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a local folder or hub id. Raises EngineError if there is none."""
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"No tokenizer could be loaded from {source!r}; name the folder or hub repository of the server's checkpoint."
        ) from error


def configured_eos(source: str) -> int | list[int] | None:
    """Return the end-of-sequence ids of the generation config of a local folder or hub id; None without such a file."""
    try:
        return GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:
        return None
