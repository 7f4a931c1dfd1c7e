"""Token ids to text: characters split over tokens, special tokens, the prompt's last tokens."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real_tokenizers import folder, needs
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from autotool_core.detokenizer import Detokenizer

TEXTS = [
    "Hello, wörld!",
    "a 👩‍👩‍👧 b",
    "你好、世界。",
    "x" * 9,
    "\n\n\t",
    "🙂🙃",
    "\ufffd" * 40,
    "é שלום",
    "<think>\nno</think>",
    "",
]


def byte_level() -> Any:
    """A byte-level BPE that knows few merges: most characters outside ASCII are split into their bytes."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False)
    backend.train_from_iterator(["the model thinks, the model answers", "你好 你好 🙂"], trainer)
    backend.add_tokens([AddedToken("<think>", special=True), AddedToken("</think>", special=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", additional_special_tokens=["<think>"])


def byte_fallback() -> Any:
    """Like sentencepiece's: words begin with a mark, the first word's space is stripped, unknown characters are bytes."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁Hello", "▁world", "!"]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], byte_fallback=True))
    strip = decoders.Strip(content=" ", left=1, right=0)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


BYTE_LEVEL = byte_level()
BYTE_FALLBACK = byte_fallback()
END, THINK = BYTE_LEVEL.convert_tokens_to_ids(["<end>", "<think>"])


def ids_of(text: str) -> list[int]:
    return BYTE_LEVEL.encode(text, add_special_tokens=False)


def decode_all(detokenizer: Detokenizer, ids: Sequence[int]) -> str:
    return "".join(detokenizer.push([token_id]) for token_id in ids) + detokenizer.finish()


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_restores_texts(text: str) -> None:
    assert decode_all(Detokenizer(BYTE_LEVEL, keep=[THINK]), ids_of(text)) == text


def test_a_character_is_returned_with_its_last_token() -> None:
    ids = ids_of("a🙃b")
    assert len(ids) > 3
    detokenizer = Detokenizer(BYTE_LEVEL)
    pushed = [detokenizer.push([token_id]) for token_id in ids]
    assert [text for text in pushed if text] == ["a", "🙃", "b"]


def test_several_tokens_at_once() -> None:
    ids = ids_of("Hello, 世界")
    detokenizer = Detokenizer(BYTE_LEVEL)
    assert detokenizer.push(ids[:-1]) == "Hello, 世"
    assert detokenizer.push(ids[-1:]) == "界"
    assert detokenizer.push([]) == ""


def test_an_incomplete_character_ends_as_a_replacement() -> None:
    detokenizer = Detokenizer(BYTE_LEVEL)
    assert detokenizer.push(ids_of("a世")[:-1]) == "a"
    assert detokenizer.finish() == "\ufffd"
    assert detokenizer.finish() == ""


def test_special_tokens_make_no_text_unless_kept() -> None:
    ids = [*ids_of("世")[:-1], END, ids_of("世")[-1], THINK, *ids_of("a</think>"), END]
    assert decode_all(Detokenizer(BYTE_LEVEL), ids) == "世a</think>"
    assert decode_all(Detokenizer(BYTE_LEVEL, keep={THINK}), ids) == "世<think>a</think>"


def test_the_first_token_is_decoded_after_the_context() -> None:
    hello, world = BYTE_FALLBACK.convert_tokens_to_ids(["▁Hello", "▁world"])
    assert decode_all(Detokenizer(BYTE_FALLBACK), [hello, world]) == "Hello world"
    assert decode_all(Detokenizer(BYTE_FALLBACK, context=[hello]), [world, hello]) == " world Hello"
    assert decode_all(Detokenizer(BYTE_FALLBACK, context=[hello] * 50), [world]) == " world"


@pytest.mark.parametrize("context", [ids_of("a世"), ids_of("a世")[:-1], [END], [THINK]])
def test_the_context_makes_no_text(context: list[int]) -> None:
    assert decode_all(Detokenizer(BYTE_LEVEL, context), ids_of("世b")) == "世b"
    assert decode_all(Detokenizer(BYTE_LEVEL, context), []) == ""


def test_bytes_that_change_earlier_text_do_not_fail() -> None:
    """`é`, then a stray byte: decoded as a whole, all three bytes are broken, but the `é` is out already."""
    pieces = ["!", "<0xC3>", "<0xA9>", "<0xE4>", "!", "!"]
    assert decode_all(Detokenizer(BYTE_FALLBACK), BYTE_FALLBACK.convert_tokens_to_ids(pieces)) == "!é\ufffd!!"


def test_broken_characters_are_not_held_without_bound() -> None:
    ids = ids_of("\ufffd" * 500)
    detokenizer = Detokenizer(BYTE_LEVEL)
    pushed = [detokenizer.push([token_id]) for token_id in ids]
    assert len("".join(pushed)) > 450
    assert "".join(pushed) + detokenizer.finish() == "\ufffd" * 500


@settings(deadline=None)
@given(st.lists(st.integers(0, len(BYTE_LEVEL) - 1), max_size=80), st.booleans())
def test_pushes_join_to_the_full_decode(ids: list[int], keep: bool) -> None:
    dropped = set(BYTE_LEVEL.all_special_ids) - ({THINK} if keep else set())
    expected = BYTE_LEVEL.decode([token_id for token_id in ids if token_id not in dropped])
    assert decode_all(Detokenizer(BYTE_LEVEL, keep=[THINK] if keep else []), ids) == expected


BROKEN = [token_id for token_id in range(len(BYTE_LEVEL)) if BYTE_LEVEL.decode([token_id]) == "\ufffd"]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(BROKEN), st.sampled_from(ids_of("\ufffd🙃世"))), min_size=30, max_size=120))
def test_long_runs_of_broken_characters_join_too(ids: list[int]) -> None:
    assert decode_all(Detokenizer(BYTE_LEVEL), ids) == BYTE_LEVEL.decode(ids)


@settings(deadline=None)
@given(st.text(), st.text(max_size=5))
def test_decoding_restores_any_text_after_any_context(text: str, context: str) -> None:
    assert decode_all(Detokenizer(BYTE_LEVEL, ids_of(context), keep=[THINK]), ids_of(text)) == text


@pytest.fixture(scope="module")
def qwen3() -> Any:
    return AutoTokenizer.from_pretrained(folder("qwen3"))


@needs("qwen3")
@pytest.mark.parametrize("text", TEXTS)
def test_decoding_restores_texts_of_qwen3(qwen3: Any, text: str) -> None:
    text = f"<think>\n{text}</think>\n\n<tool_call>{text}</tool_call>"
    ids = qwen3.encode(text)
    assert decode_all(Detokenizer(qwen3, context=qwen3.encode("<|im_start|>assistant\n")), [*ids, qwen3.eos_token_id]) == text
