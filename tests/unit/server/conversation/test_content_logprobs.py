"""The log-probabilities of an answer are those of exactly the tokens that its content is made of."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import make_tokenizer

from autotool_core import tool_formats
from autotool_core.detokenizer import Detokenizer
from autotool_core.modes import Mode
from autotool_core.parsing.events import ContentDelta
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import BUILTIN, Profile
from autotool_server.conversation.content_logprobs import ContentLogprobs
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.token_reader import TokenReader, TurnOutput
from autotool_server.engines.base import TokenDelta, TokenLogprob

PROFILE = BUILTIN["smollm2-autotool"]
TOKENIZER = make_tokenizer()
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
XML = "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"
CODER = Profile(name="coder", tool_format=tool_formats.get("qwen3_coder"))
STRICT = PROFILE.model_copy(update={"drops_stray_markers": True})


def entry(token_id: int) -> TokenLogprob:
    return TokenLogprob(token_id, -float(token_id), ())


def read(ids: list[int], profile: Profile = PROFILE, mode: Mode = Mode.SHORT, size: int = 1, **options: Any) -> tuple[str, str]:
    """Return the content, and the text of the tokens whose log-probabilities are shown."""
    keep = {TOKENIZER.convert_tokens_to_ids(marker) for marker in profile.markers}
    parser = TurnParser(profile, profile.prefix(mode), TOOLS)
    reader = TokenReader(parser, Detokenizer(TOKENIZER, (), keep), Ledger(), (TOKENIZER.eos_token_id,), **options)
    outputs = list[TurnOutput]()
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        outputs.append(reader.read(TokenDelta(part, tuple(map(entry, part))), keep=lambda _: None))
        if reader.is_over:
            break
    outputs += [reader.flush(), reader.finish()]
    content = "".join(event.text for output in outputs for event in output.events if isinstance(event, ContentDelta))
    shown = [token.token_id for output in outputs for token in output.logprobs]
    return content, TOKENIZER.decode(shown, skip_special_tokens=False)


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


@pytest.mark.parametrize(
    ("text", "profile", "content"),
    [
        (f"a \n{CALL}\n b", PROFILE, "ab"),
        (f"a \n{XML}\n b", CODER, "ab"),
        ("a <tool_call> b", PROFILE, "a <tool_call> b"),
        ("a<</tool_call>", STRICT, "a<"),
        ("a <tool_call> b", STRICT, "a  b"),
        ("é \U0001f642!", PROFILE, "é \U0001f642!"),
        ("a\n\n", PROFILE, "a\n\n"),
        (f"{CALL}<b>", PROFILE, "<b>"),
        ("<function=f><parameter=a>1</parameter> so", CODER, "so"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_tokens_are_those_of_the_content(text: str, profile: Profile, content: str, size: int) -> None:
    assert read(encode(text), profile, size=size) == (content, content)


def test_the_end_of_the_think_block_has_no_entry() -> None:
    assert read(encode("Hm.\n</think>\n\nb\n"), mode=Mode.LONG) == ("b\n", "b\n")


def test_a_stop_string_has_no_entry() -> None:
    assert read(encode("ab. STOP c"), stop=("STOP",)) == ("ab. ", "ab. ")
    assert read(encode("ab STO"), stop=("STOP",)) == ("ab STO", "ab STO")


def test_the_token_that_ends_the_text_has_no_entry() -> None:
    assert read([*encode("ab"), TOKENIZER.eos_token_id]) == ("ab", "ab")


def test_a_character_that_is_never_complete_has_its_entries() -> None:
    ids = encode("a\U0001f642")[:3]
    content, shown = read(ids)
    assert (content[0], shown) == ("a", TOKENIZER.decode(ids))


def test_a_token_that_is_content_in_part_has_one_entry() -> None:
    logprobs = ContentLogprobs()
    for number, text in enumerate(("a", " <", "b>\n", "c. STOP")):
        logprobs.read(entry(number), text)
    logprobs.settle(["a", "c. STOP"], 0, in_content=True)
    assert [token.token_id for token in logprobs.show(1)] == [0]
    assert [token.token_id for token in logprobs.show(2)] == [3]
    assert logprobs.show(5) == []


FRAGMENTS = (
    *PROFILE.markers,
    *("<", "</", "<tool", "</tool_c", "think>", " ", "\n", "\n\n", "x", "é", "\U0001f642", "STOP", "ST", "{", "}", '"'),
    *(CALL, XML, CALL[:30], XML[:40], '{"name": "f"', "<function=f>", "<parameter=a>", "</function>", "</parameter>"),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join),
    st.sampled_from([PROFILE, CODER, STRICT]),
    st.sampled_from([Mode.LONG, Mode.SHORT]),
    st.integers(1, 9),
    st.sampled_from([(), ("STOP",), ("x<", "\n")]),
)
def test_any_turn_shows_the_tokens_of_its_content(
    text: str, profile: Profile, mode: Mode, size: int, stop: tuple[str, ...]
) -> None:
    content, shown = read(encode(text), profile, mode, size, stop=stop)
    assert shown == content
