"""Haystack: OpenAIChatGenerator, the Responses generator, and an agent."""

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from person import ADA, Person


def generator(kind: type, **options: object):
    return kind(model=MODEL, api_base_url=BASE_URL, api_key=Secret.from_token(API_KEY), max_retries=0, **options)


def answer(kind: type) -> None:
    equal(generator(kind).run([ChatMessage.from_user(SAY)])["replies"][0].text, SAID)


def stream(kind: type) -> None:
    parts: list[str] = []
    made = generator(kind, streaming_callback=lambda part: parts.append(part.content))
    equal(made.run([ChatMessage.from_user(SAY)])["replies"][0].text, SAID)
    equal("".join(parts), SAID)


def loop(kind: type) -> None:
    agent = Agent(chat_generator=generator(kind), tools=[create_tool_from_function(get_weather)])
    equal(agent.run([ChatMessage.from_user(THREE_TURNS)])["messages"][-1].text, THREE_TURNS_SAID)


def chat() -> None:
    answer(OpenAIChatGenerator)


def chat_stream() -> None:
    stream(OpenAIChatGenerator)


def chat_agent() -> None:
    loop(OpenAIChatGenerator)


def chat_structured_output() -> None:
    made = generator(OpenAIChatGenerator, generation_kwargs={"response_format": Person})
    reply = made.run([ChatMessage.from_user(PERSON)])["replies"][0]
    equal(Person.model_validate_json(reply.text), ADA)


def responses() -> None:
    answer(OpenAIResponsesChatGenerator)


def responses_stream() -> None:
    stream(OpenAIResponsesChatGenerator)


def responses_agent() -> None:
    loop(OpenAIResponsesChatGenerator)


run("haystack-ai", chat, chat_stream, chat_agent, chat_structured_output, responses, responses_stream, responses_agent)
