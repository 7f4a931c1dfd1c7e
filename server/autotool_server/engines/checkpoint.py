"""What an engine reads from a checkpoint besides its weights."""

from collections.abc import Sequence

from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from autotool_core.errors import EngineError


def eos_token_ids(configured: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end a turn: the generation config's, then the tokenizer's own where it is another one."""
    listed = [configured] if isinstance(configured, int) else list(configured or ())
    own = tokenizer.eos_token_id
    return tuple(dict.fromkeys([*listed, own] if isinstance(own, int) else listed))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or hub name. Raises EngineError where there is none."""
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"No tokenizer could be loaded from {source!r}; name the folder or hub repository of the server's checkpoint."
        ) from error


def configured_eos(source: str) -> int | list[int] | None:
    """What the generation config of a local folder or hub name calls the end of a sequence; None where it has no such file."""
    try:
        return GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:
        return None
