"""What a client sees of a turn that is decoded again; when one is, `test_tool_loop.py` tests."""

import pytest
from support.serving import scripted
from support.tools import ADD_1_2, adder, ask, autotool_field, called, named, stream, with_tools

WRONG = f"Wrong. {called('math.add', {'a': 1})}"


@pytest.mark.parametrize("before", [(), (f"First. {ADD_1_2}",)])
async def test_its_text_is_not_in_the_answer(before: tuple[str, ...]) -> None:
    texts = (*before, WRONG, f"Hm.\n</think>\n\nRight. {ADD_1_2}", "It is 3.")
    async with with_tools(scripted(*texts), adder(), escalate=True) as server:
        answer = await ask(server, named("math.add"), logprobs=True)
    texts = [message["content"] for message in autotool_field(answer)["transcript"] if message["role"] == "assistant"]
    assert answer.choices[0].message.content == "\n\n".join(texts)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert "Wrong" not in "".join(entry.token for entry in logprobs.content or [])


async def test_its_text_remains_in_a_stream() -> None:
    async with with_tools(scripted(WRONG, "Hm.\n</think>\n\nIt is 3."), adder(), escalate=True) as server:
        chunks = await stream(server, named("math.add"))
    content = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert content == "Wrong.\n\nIt is 3."
