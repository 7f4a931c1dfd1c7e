"""gpt-oss's turns, as OpenAI's own library writes and reads them.

The library fetches its vocabulary, which is that of the real tokenizer, and checks it by its hash: written from the tokenizer,
it is the same to the byte.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsing_turns import Call, Turn, as_turn, chunked, function_tool, run
from support.real_tokenizers import folder, needs

from autotool_core import tool_formats
from autotool_core.profile import Profile
from autotool_core.recognition import HARMONY

harmony: Any = pytest.importorskip("openai_harmony", reason="openai-harmony is not installed")
pytestmark = needs("gptoss")
PROFILE = Profile(name="gpt-oss", think=HARMONY, tool_format=tool_formats.get("gpt_oss"))
TOOLS = [function_tool("get_it", {"s": {"type": "string"}})]
START = "<|start|>assistant"
FIRST_SPECIAL = 199_998
texts = st.text(st.characters(categories=["Ll", "Lu", "Nd", "Po"]), min_size=1, max_size=20)
arguments = st.fixed_dictionaries({}, optional={"s": texts, "i": st.integers()})


def byte_of_character() -> dict[str, int]:
    """Return the byte for which each character of a byte-level vocabulary stands."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


@pytest.fixture(scope="module")
def encoding(tmp_path_factory: pytest.TempPathFactory) -> Any:
    vocabulary: dict[str, int] = json.loads((folder("gptoss") / "tokenizer.json").read_text())["model"]["vocab"]
    byte = byte_of_character()
    ranked = sorted((rank, bytes(byte[char] for char in token)) for token, rank in vocabulary.items() if rank < FIRST_SPECIAL)
    path: Path = tmp_path_factory.mktemp("harmony")
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in ranked)
    (path / "o200k_base.tiktoken").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_ENCODINGS_BASE", str(path))
        return harmony.load_harmony_encoding(harmony.HarmonyEncodingName.HARMONY_GPT_OSS)


def message(text: str, channel: str) -> Any:
    return harmony.Message.from_role_and_content(harmony.Role.ASSISTANT, text).with_channel(channel)


def call(name: str, values: Any) -> Any:
    made = message(json.dumps(values), "commentary").with_recipient(f"functions.{name}")
    return made.with_content_type("<|constrain|>json")


def written(encoding: Any, messages: list[Any]) -> str:
    """Return a turn's text behind the prompt, which has its first `<|start|>assistant`."""
    text = "".join(encoding.decode(encoding.render(each)) for each in messages)
    return text.removeprefix(START)


def by_harmony(encoding: Any, text: str) -> Turn:
    tokens = encoding.encode(text, allowed_special="all")
    read = encoding.parse_messages_from_completion_tokens(tokens, role=harmony.Role.ASSISTANT)
    parts = [(each.channel, each.recipient, each.content[0].text) for each in read]
    calls = [(to, said) for _, to, said in parts if to is not None]
    return Turn(
        "".join(said for channel, to, said in parts if to is None and channel == "analysis"),
        "".join(said for channel, to, said in parts if to is None and channel != "analysis"),
        tuple(Call(to.removeprefix("functions."), said) for to, said in calls),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(texts, max_size=2), st.none() | texts, texts | arguments, st.data())
def test_turns_that_harmony_writes(
    encoding: Any, thoughts: list[str], preamble: str | None, last: str | dict[str, Any], data: st.DataObject
) -> None:
    messages = [message(thought, "analysis") for thought in thoughts]
    messages += [message(preamble, "commentary")] if preamble is not None else []
    messages += [message(last, "final") if isinstance(last, str) else call("get_it", last)]
    text = written(encoding, messages)
    events, _ = run(PROFILE, data.draw(chunked(st.just(text))), "", TOOLS)
    assert as_turn(events) == by_harmony(encoding, text)
