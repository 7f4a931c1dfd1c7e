"""LangChain's ChatOpenAI with the default model, which decodes on this machine: the form of its answers is checked."""

from checks import API_KEY, BASE_URL, MODEL, run_over
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

QUESTION = "Which is the largest planet? Answer in one sentence."


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"18 degrees in {city}"


def model(responses: bool, max_tokens: int = 64) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL,
        base_url=BASE_URL,
        api_key=API_KEY,
        max_retries=0,
        timeout=120,
        max_tokens=max_tokens,
        use_responses_api=responses,
    )


def holds(condition: object, found: object) -> None:
    if not condition:
        raise AssertionError(repr(found))


def answer(responses: bool) -> None:
    message = model(responses).invoke(QUESTION)
    holds(message.text and message.usage_metadata["output_tokens"] <= 64, message)


def stream(responses: bool) -> None:
    chunks = list(model(responses).stream(QUESTION))
    holds(len(chunks) > 2 and "".join(chunk.text for chunk in chunks), chunks)


def structured_output(responses: bool) -> None:
    person = model(responses, 200).with_structured_output(Person).invoke("I am Ada, and I am 36 years old.")
    holds(isinstance(person, Person), person)


def tools(responses: bool) -> None:
    calling = model(responses, 200).bind_tools([get_weather], tool_choice="any").invoke("What is the weather in Paris?")
    holds(calling.tool_calls, calling)
    results = [get_weather.invoke(call) for call in calling.tool_calls]
    last = model(responses).bind_tools([get_weather]).invoke([("user", "What is the weather?"), calling, *results])
    holds(last.text or last.tool_calls, last)


run_over("langchain-openai", {"chat": False, "responses": True}, answer, stream, structured_output, tools)
