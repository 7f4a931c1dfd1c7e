"""Agno: OpenAIChat, OpenAILike and OpenAIResponses in an agent."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.models.openai.like import OpenAILike
from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def agent(kind: type, **options: object) -> Agent:
    return Agent(model=kind(id=MODEL, base_url=BASE_URL, api_key=API_KEY), telemetry=False, **options)


def answer(kind: type) -> None:
    equal(agent(kind).run(SAY).content, SAID)


def stream(kind: type) -> None:
    events = agent(kind).run(SAY, stream=True)
    equal("".join(event.content or "" for event in events if event.event == "RunContent"), SAID)


def tools(kind: type) -> None:
    equal(agent(kind, tools=[get_weather]).run(THREE_TURNS).content, THREE_TURNS_SAID)


def structured(kind: type) -> None:
    equal(agent(kind, output_schema=Person).run(PERSON).content, Person(name="Ada", age=36))


def chat() -> None:
    answer(OpenAIChat)
    answer(OpenAILike)


def chat_stream() -> None:
    stream(OpenAIChat)


def chat_tools() -> None:
    tools(OpenAIChat)


def chat_structured_output() -> None:
    structured(OpenAIChat)


def responses() -> None:
    answer(OpenAIResponses)


def responses_stream() -> None:
    stream(OpenAIResponses)


def responses_tools() -> None:
    tools(OpenAIResponses)


def responses_structured_output() -> None:
    structured(OpenAIResponses)


run(
    "agno",
    chat,
    chat_stream,
    chat_tools,
    chat_structured_output,
    responses,
    responses_stream,
    responses_tools,
    responses_structured_output,
)
