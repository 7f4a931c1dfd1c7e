"""Bytes of tokens that end inside a character, by the kind of tokenizer."""

from typing import Any

from support.serving import MODEL, running, scripted
from support.tiny import make_tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from autotool_server.api.token_bytes import token_bytes


def bytes_of(tokenizer: Any, token: str) -> list[int] | None:
    token_id = tokenizer.convert_tokens_to_ids(token)
    return token_bytes(token_id, tokenizer.decode([token_id]), tokenizer)


def test_byte_level() -> None:
    tokenizer = make_tokenizer()
    assert bytes_of(tokenizer, "ð") == [0xF0]
    assert bytes_of(tokenizer, "Ġ") == [0x20]
    assert bytes_of(tokenizer, "ĊĊ") == [10, 10]


def test_a_marker_is_its_text() -> None:
    assert bytes_of(make_tokenizer(), "<think>") == list(b"<think>")


def test_byte_fallback() -> None:
    vocabulary = {"<0xF0>": 0, "<0x41>": 1, "\ufffd": 2, "é": 3}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert bytes_of(tokenizer, "<0xF0>") == [0xF0]
    assert bytes_of(tokenizer, "<0x41>") == [0x41]
    assert bytes_of(tokenizer, "é") == list("é".encode())
    assert bytes_of(tokenizer, "\ufffd") is None


def test_an_id_of_no_token() -> None:
    assert token_bytes(10**6, "\ufffd", make_tokenizer()) is None


async def test_the_bytes_of_an_answers_logprobs_are_those_of_its_content() -> None:
    async with running(scripted("🙂 漢字")) as server:
        [choice] = (
            await server.client.chat.completions.create(
                model=f"{MODEL}:short", messages=[{"role": "user", "content": "Hi"}], logprobs=True
            )
        ).choices
    assert choice.logprobs is not None
    joined = b"".join(bytes(entry.bytes or []) for entry in choice.logprobs.content or [])
    assert joined.decode() == choice.message.content == "🙂 漢字"
