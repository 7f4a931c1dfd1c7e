from hypothesis import given
from hypothesis import strategies as st

from autotool_server.stops import StopFilter


def run(stops: tuple[str, ...], chunks: list[str]) -> tuple[str, bool]:
    stop = StopFilter(stops)
    text = ""
    for chunk in chunks:
        text += stop.push(chunk)
        if stop.hit:
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
