"""Anthropic's own client: messages, streams, thinking, the tool runner, structured output, counted tokens."""

from anthropic import Anthropic, beta_tool
from checks import API_KEY, MODEL, PERSON, ROOT_URL, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from person import ADA, Person

client = Anthropic(base_url=ROOT_URL, api_key=API_KEY, max_retries=0)
THINK = "<<think Paris, of course.>>+<<say Paris.>>"


def messages() -> None:
    answer = client.messages.create(model=MODEL, max_tokens=200, messages=[{"role": "user", "content": SAY}])
    equal([(block.type, block.text) for block in answer.content], [("text", SAID)])
    equal(answer.stop_reason, "end_turn")


def stream() -> None:
    with client.messages.stream(model=MODEL, max_tokens=200, messages=[{"role": "user", "content": SAY}]) as events:
        equal("".join(events.text_stream), SAID)


def thinking() -> None:
    answer = client.messages.create(
        model=MODEL,
        max_tokens=2000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": THINK}],
    )
    equal([block.type for block in answer.content], ["thinking", "text"])
    equal(answer.content[0].thinking.strip(), "Paris, of course.")
    equal(answer.content[1].text, "Paris.")


def thinking_stream() -> None:
    with client.messages.stream(
        model=MODEL, max_tokens=2000, thinking={"type": "adaptive"}, messages=[{"role": "user", "content": THINK}]
    ) as events:
        thought = "".join(event.thinking for event in events if event.type == "thinking")
        final = events.get_final_message()
    equal(thought.strip(), "Paris, of course.")
    equal([block.type for block in final.content], ["thinking", "text"])


def tool_runner() -> None:
    runner = client.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=2000,
        thinking={"type": "adaptive"},
        tools=[beta_tool(get_weather)],
        messages=[{"role": "user", "content": THREE_TURNS}],
    )
    equal(runner.until_done().content[-1].text, THREE_TURNS_SAID)


def parse() -> None:
    answer = client.messages.parse(
        model=MODEL, max_tokens=200, output_format=Person, messages=[{"role": "user", "content": PERSON}]
    )
    equal(answer.parsed_output, ADA)


def count_tokens() -> None:
    sent = {"model": MODEL, "messages": [{"role": "user", "content": SAY}]}
    counted = client.messages.count_tokens(**sent).input_tokens
    used = client.messages.create(max_tokens=200, **sent).usage.input_tokens
    if not 0 < counted <= used <= counted + 8:
        raise AssertionError(f"{counted} tokens counted, {used} used")


run("anthropic", messages, stream, thinking, thinking_stream, tool_runner, parse, count_tokens)
