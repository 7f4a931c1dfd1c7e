"""OpenAI's Agents SDK: its default model class, which speaks Responses, and the one for chat completions."""

import os

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from person import ADA, Person

os.environ.update(OPENAI_BASE_URL=BASE_URL, OPENAI_API_KEY=API_KEY, OPENAI_AGENTS_DISABLE_TRACING="1")

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI


def agent(model: object = MODEL, **options: object) -> Agent:
    return Agent(name="Guide", instructions="Be brief.", model=model, **options)


async def responses() -> None:
    equal((await Runner.run(agent(), SAY)).final_output, SAID)


async def responses_stream() -> None:
    result = Runner.run_streamed(agent(), SAY)
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    equal("".join(deltas), SAID)


async def responses_tools() -> None:
    result = await Runner.run(agent(tools=[function_tool(get_weather)]), THREE_TURNS)
    equal(result.final_output, THREE_TURNS_SAID)


async def responses_streamed_tools() -> None:
    result = Runner.run_streamed(agent(tools=[function_tool(get_weather)]), THREE_TURNS)
    async for _ in result.stream_events():
        pass
    equal(result.final_output, THREE_TURNS_SAID)


async def responses_structured_output() -> None:
    equal((await Runner.run(agent(output_type=Person), PERSON)).final_output, ADA)


async def responses_handoff() -> None:
    other = agent()
    other.name = "Other"
    prompt = "<<call transfer_to_other {}>> <<say The other one here.>>"
    equal((await Runner.run(agent(handoffs=[other]), prompt)).final_output, "The other one here.")


def chat_model() -> OpenAIChatCompletionsModel:
    return OpenAIChatCompletionsModel(MODEL, AsyncOpenAI())


async def chat_tools() -> None:
    result = await Runner.run(agent(chat_model(), tools=[function_tool(get_weather)]), THREE_TURNS)
    equal(result.final_output, THREE_TURNS_SAID)


async def chat_structured_output() -> None:
    equal((await Runner.run(agent(chat_model(), output_type=Person), PERSON)).final_output, ADA)


run(
    "openai-agents",
    responses,
    responses_stream,
    responses_tools,
    responses_streamed_tools,
    responses_structured_output,
    responses_handoff,
    chat_tools,
    chat_structured_output,
)
