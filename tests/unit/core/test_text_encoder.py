"""A text that is encoded in kept segments has the ids that its tokenizer gives it whole."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from support.real_tokenizers import folder, needs
from support.tiny import make_tokenizer
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from autotool_core.text_encoder import OVERHEAD_TOKENS, TextEncoder, cut_tokens
from autotool_server.engines.checkpoint import load_tokenizer

SYMBOLS = "abc<>|_\u2581\u0120 \n!x"
PARTS = (
    "a",
    "ab",
    "c",
    " ",
    "  ",
    "\n",
    "<",
    "<|",
    "|>",
    "<|a",
    "b|>",
    "x",
    "!",
    "<|ab|>",
    "<|c|>",
    "<x>",
    "<|ab|>c",
    " <|c|> ",
)
Prepare = Callable[[Tokenizer], None]


def _tokenizer(prepare: Prepare, *tokens: AddedToken) -> Any:
    vocabulary = [*dict.fromkeys(SYMBOLS), "ab", "abc", "\u2581a", "\u2581ab", "\u0120a"]
    merges = [("a", "b"), ("ab", "c"), ("\u2581", "a"), ("\u2581", "ab"), ("\u0120", "a")]
    backend = Tokenizer(BPE({text: number for number, text in enumerate(vocabulary)}, merges, unk_token="!"))
    prepare(backend)
    backend.add_tokens([*tokens])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def _metaspace(scheme: Any) -> Prepare:
    def prepare(backend: Tokenizer) -> None:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)

    return prepare


def _prepending(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])


def _byte_level(backend: Tokenizer) -> None:
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def _special(text: str, **options: Any) -> AddedToken:
    return AddedToken(text, normalized=False, special=True, **options)


def _texts(seed: int, parts: Any = PARTS) -> list[str]:
    draw = random.Random(seed)  # noqa: S311 no secret
    drawn = ["".join(draw.choice(parts) for _ in range(draw.randrange(12))) for _ in range(100)]
    return [*drawn, *(text + draw.choice(drawn) for text in drawn)]


def _assert_exact(tokenizer: Any, texts: list[str], **options: int) -> TextEncoder:
    encoder = TextEncoder(tokenizer, **options)
    for text in texts:
        whole = tokenizer.encode(text, add_special_tokens=False)
        assert encoder.encode(text) == whole, text
        assert encoder.encode(text) == whole, text
    return encoder


@pytest.mark.parametrize("prepare", [_metaspace("first"), _metaspace("always"), _prepending, _byte_level])
@pytest.mark.parametrize(
    ("cuts", "tokens"),
    [
        ({"<|ab|>", "<|c|>"}, [_special("<|ab|>"), _special("<|c|>")]),
        ({"<|c|>"}, [_special("<|ab|>", lstrip=True), _special("<|c|>", rstrip=True)]),
        ({"<|c|>"}, [_special("<|c|>"), AddedToken("<x>", normalized=True)]),
        # One begins with another one, and one reaches into another one.
        ({"<|ab|>", "<|ab|>c"}, [_special("<|ab|>"), _special("<|ab|>c")]),
        ({"<|c|>"}, [_special("<|ab|>"), _special("<|ab|>c", lstrip=True), _special("<|c|>")]),
        (set[str](), [_special("<|c|>"), _special("x<", lstrip=True)]),
        (set[str](), [_special("<|c|>"), _special("ab", single_word=True)]),
    ],
)
def test_the_ids_are_those_of_the_whole_text(prepare: Prepare, cuts: set[str], tokens: list[AddedToken]) -> None:
    tokenizer = _tokenizer(prepare, *tokens)
    assert cut_tokens(tokenizer.backend_tokenizer) == cuts
    _assert_exact(tokenizer, _texts(1))


def test_a_tokenizer_that_divides_special_tokens_is_not_cut() -> None:
    tokenizer = _tokenizer(_byte_level, _special("<|c|>"))
    tokenizer.backend_tokenizer.encode_special_tokens = True
    assert not cut_tokens(tokenizer.backend_tokenizer)


@needs("qwen3")
def test_of_a_real_tokenizer() -> None:
    tokenizer: Any = load_tokenizer(str(folder("qwen3")))
    tokens = [token.content for token in tokenizer.backend_tokenizer.get_added_tokens_decoder().values()]
    parts = [
        *tokens,
        *tokens,
        " ",
        "\n",
        "  \n",
        "Hello world",
        "<",
        "<|im",
        "_start|>",
        "naïve",
        "日本",
        "123",
        "\t",
        "<think",
    ]
    _assert_exact(tokenizer, _texts(2, parts))


def test_what_a_file_says_of_truncation_changes_nothing() -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    assert len(TextEncoder(tokenizer).encode("one two three four")) > 2


class _Counting:
    """A tokenizer whose encoded segments are counted."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self.segments: list[str] = []

    @property
    def backend_tokenizer(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.segments += texts
        return self._backend.encode_batch_fast(texts, **options)


def test_a_conversation_that_is_sent_again_costs_what_is_new() -> None:
    tokenizer: Any = _Counting(make_tokenizer())
    encoder = TextEncoder(tokenizer)
    turns = [f"<|im_start|>user\nThis is number {number}.<|im_end|>\n" for number in range(50)]
    encoder.encode("".join(turns))
    tokenizer.segments.clear()
    encoder.encode("".join([*turns, "<|im_start|>user\nAnd this?"]))
    assert tokenizer.segments == ["<|im_start|>user\nAnd this?"]


def test_what_is_kept_is_bounded() -> None:
    tokenizer: Any = _Counting(make_tokenizer())
    encoder = TextEncoder(tokenizer, max_kept_tokens=3 * (OVERHEAD_TOKENS + 8))
    for text in ("one", "two", "three", "one", "four", "five", "one", "two"):
        encoder.encode(text)
    assert tokenizer.segments == ["one", "two", "three", "four", "five", "two"]
