"""Agno: OpenAIChat, OpenAILike and OpenAIResponses in an agent."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.models.openai.like import OpenAILike
from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run_over
from person import ADA, Person


def agent(kind: type, **options: object) -> Agent:
    return Agent(model=kind(id=MODEL, base_url=BASE_URL, api_key=API_KEY), telemetry=False, **options)


def answer(kind: type) -> None:
    equal(agent(kind).run(SAY).content, SAID)


def stream(kind: type) -> None:
    events = agent(kind).run(SAY, stream=True)
    equal("".join(event.content or "" for event in events if event.event == "RunContent"), SAID)


def tools(kind: type) -> None:
    equal(agent(kind, tools=[get_weather]).run(THREE_TURNS).content, THREE_TURNS_SAID)


def structured_output(kind: type) -> None:
    equal(agent(kind, output_schema=Person).run(PERSON).content, ADA)


run_over(
    "agno",
    {"chat": OpenAIChat, "OpenAILike": OpenAILike, "responses": OpenAIResponses},
    answer,
    stream,
    tools,
    structured_output,
)
