"""Pydantic AI: OpenAIChatModel and OpenAIResponsesModel."""

from checks import (
    API_KEY,
    BASE_URL,
    MODEL,
    SAID,
    SAY,
    THREE_TURNS,
    THREE_TURNS_SAID,
    equal,
    get_weather,
    run,
)
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)
CHAT, RESPONSES = OpenAIChatModel(MODEL, provider=PROVIDER), OpenAIResponsesModel(MODEL, provider=PROVIDER)


class Person(BaseModel):
    name: str
    age: int


def answer(model: object) -> None:
    equal(Agent(model, instructions="Be brief.").run_sync(SAY).output, SAID)


async def stream(model: object) -> None:
    async with Agent(model).run_stream(SAY) as result:
        equal("".join([text async for text in result.stream_text(delta=True)]), SAID)


def tools(model: object) -> None:
    """Run a loop of three calls, and go on with its history."""
    agent = Agent(model, tools=[get_weather])
    first = agent.run_sync(THREE_TURNS)
    equal(first.output, THREE_TURNS_SAID)
    equal(agent.run_sync(SAY, message_history=first.all_messages()).output, SAID)


def structured(model: object) -> None:
    ada = '{"name": "Ada", "age": 36}'
    for kind, verb in ((Person, "call final_result"), (NativeOutput(Person), "say"), (PromptedOutput(Person), "say")):
        equal(Agent(model, output_type=kind).run_sync(f"Ada <<{verb} {ada}>>").output, Person(name="Ada", age=36))


def chat() -> None:
    answer(CHAT)


async def chat_stream() -> None:
    await stream(CHAT)


def chat_tools() -> None:
    tools(CHAT)


def chat_structured_output() -> None:
    structured(CHAT)


def responses() -> None:
    answer(RESPONSES)


async def responses_stream() -> None:
    await stream(RESPONSES)


def responses_tools() -> None:
    tools(RESPONSES)


def responses_structured_output() -> None:
    structured(RESPONSES)


run(
    "pydantic-ai-slim",
    chat,
    chat_stream,
    chat_tools,
    chat_structured_output,
    responses,
    responses_stream,
    responses_tools,
    responses_structured_output,
)
