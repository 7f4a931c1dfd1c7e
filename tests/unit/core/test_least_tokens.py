"""The least number of tokens of a text is never above what its tokenizer makes of it."""

from typing import Any

import pytest
from support.real_tokenizers import folder, needs
from support.tiny import make_tokenizer
from tokenizers import AddedToken, Tokenizer, normalizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from autotool_core.least_tokens import least_tokens

TEXTS = (" " * 1000, "a" * 999, "-" * 5000, "=" * 4097, "\n" * 3000, "<|im_end|>" * 50, "日本語" * 99, "👩‍👩‍👧" * 40, "")


@needs("qwen3")
def test_of_a_real_tokenizer() -> None:
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder("qwen3") / "tokenizer.json"))
    least = least_tokens(tokenizer)
    for text in TEXTS:
        assert least(text) <= len(tokenizer.encode(text, add_special_tokens=False))
    assert least("a" * 2**20) > 2**12


@pytest.mark.parametrize("left_out", [0, 1])
def test_of_one_that_falls_back_to_bytes(left_out: int) -> None:
    vocabulary = [*(f"<0x{byte:02X}>" for byte in range(256 - left_out)), "\u2581", "a", "aa", "\u2581\u2581"]
    model = BPE(
        dict(zip(vocabulary, range(len(vocabulary)), strict=False)), [("a", "a"), ("\u2581", "\u2581")], byte_fallback=True
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend)
    least = least_tokens(tokenizer)
    for text in TEXTS:
        assert least(text) <= len(tokenizer.encode(text, add_special_tokens=False))
    assert (least("a" * 1000) > 100) is (left_out == 0)


def test_of_one_that_composes_characters() -> None:
    first, second = ByteLevel(add_prefix_space=False).pre_tokenize_str("\u0390")[0][0]
    vocabulary = [*ByteLevel.alphabet(), first + second]
    backend = Tokenizer(BPE({token: number for number, token in enumerate(vocabulary)}, [(first, second)]))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFC(), ByteLevel(add_prefix_space=False)
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend)
    composed = "\u0399\u0308\u0301".lower() * 100
    assert len(tokenizer.encode(composed, add_special_tokens=False)) == 100
    assert least_tokens(tokenizer)(composed) == 100


def test_it_is_unknown_where_a_tokenizer_may_lose_text() -> None:
    tokenizer = make_tokenizer()
    assert least_tokens(tokenizer)("a" * 100) > 0
    tokenizer.add_special_tokens({"additional_special_tokens": ["<wide>"]})
    assert least_tokens(tokenizer)("a" * 100) > 0
    stripping = make_tokenizer()
    stripping.add_tokens([AddedToken("<wide>", rstrip=True)])
    assert least_tokens(stripping)("a" * 100) == 0
    lowered = make_tokenizer()
    lowered.backend_tokenizer.normalizer = normalizers.Strip()
    assert least_tokens(lowered)("a" * 100) == 0
