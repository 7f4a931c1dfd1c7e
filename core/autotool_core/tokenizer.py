"""The interface of a Hugging Face tokenizer that this project uses."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

SAMPLE = "Hello  world, it's 12345 na\u00efve\n\n \u65e5\u672c\u8a9e\t\U0001f600 <a>"
"""A text whose words, numbers, spaces and scripts tokenizers divide by different rules."""


class Tokenizer(Protocol):
    """A tokenizer, such as every `transformers.PreTrainedTokenizerFast`."""

    @property
    def all_special_ids(self) -> Sequence[int]: ...

    @property
    def backend_tokenizer(self) -> Any:
        """The wrapped `tokenizers.Tokenizer`."""
        ...

    @property
    def chat_template(self) -> Any: ...

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> Any: ...
