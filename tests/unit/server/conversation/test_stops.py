from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.serving import MODEL, running, scripted

from autotool_server.conversation.stops import StopFilter


def run(stops: tuple[str, ...], chunks: list[str]) -> tuple[str, bool]:
    stop = StopFilter(stops)
    text = ""
    for chunk in chunks:
        text += stop.push(chunk)
        if stop.matched:
            return text, True
    return text + stop.finish(), False


@given(st.lists(st.text("ab", max_size=4), max_size=8), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_any_chunking_stops_at_a_first_stop(chunks: list[str], stops: list[str]) -> None:
    whole = "".join(chunks)
    text, hit = run(tuple(stops), chunks)
    assert hit == any(stop in whole for stop in stops)
    assert whole.startswith(text)
    assert not any(stop in text for stop in stops)
    if not hit:
        assert text == whole


def test_held_back_text_is_only_what_could_begin_a_stop() -> None:
    stop = StopFilter(("END",))
    assert stop.push("the E") == "the "
    assert stop.push("gg") == "Egg"
    assert stop.finish() == ""


async def test_a_stop_in_whitespace_that_is_held_back_stops_a_turn_that_is_cut_there() -> None:
    """Before a call whitespace is no content, so with tools the last of it is only known at the end."""
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    async with running(scripted("Four.\nFive.")) as server:
        [choice] = (
            await server.client.chat.completions.create(
                model=f"{MODEL}:short",
                messages=[{"role": "user", "content": "2+2?"}],
                tools=[tool],
                stop="\n",
                max_completion_tokens=len("Four.\n"),
            )
        ).choices
    assert (choice.message.content, choice.finish_reason) == ("Four.", "stop")
