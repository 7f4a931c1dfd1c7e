"""LangChain's ChatOpenAI over chat completions and over Responses, and LangGraph's agent over both."""

from checks import (
    API_KEY,
    BASE_URL,
    MODEL,
    PERSON,
    SAID,
    SAY,
    THREE_TURNS,
    THREE_TURNS_SAID,
    equal,
    get_weather,
    run,
)
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def model(responses: bool) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key=API_KEY, max_retries=0, use_responses_api=responses)


def answer(responses: bool) -> None:
    equal(model(responses).invoke(SAY).text, SAID)


def stream(responses: bool) -> None:
    equal("".join(chunk.text for chunk in model(responses).stream(SAY)), SAID)


def structured(responses: bool) -> None:
    equal(model(responses).with_structured_output(Person).invoke(PERSON), Person(name="Ada", age=36))


def structured_by_tool(responses: bool) -> None:
    prompt = 'Ada, 36 years old <<call Person {"name": "Ada", "age": 36}>>'
    equal(model(responses).with_structured_output(Person, method="function_calling").invoke(prompt), Person(name="Ada", age=36))


def agent(responses: bool) -> None:
    """Run LangGraph's agent with memory: a second question has the first one's turns before it."""
    graph = create_agent(model(responses), [tool(get_weather)], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    for prompt, expected in ((THREE_TURNS, THREE_TURNS_SAID), (SAY, SAID)):
        state = graph.invoke({"messages": [("user", prompt)]}, config)
        equal(state["messages"][-1].text, expected)


def agent_stream(responses: bool) -> None:
    graph = create_agent(model(responses), [tool(get_weather)])
    text = "".join(
        chunk.text
        for chunk, data in graph.stream({"messages": [("user", THREE_TURNS)]}, stream_mode="messages")
        if data["langgraph_node"] == "model"
    )
    equal(text, THREE_TURNS_SAID)


def chat() -> None:
    answer(False)


def chat_stream() -> None:
    stream(False)


def chat_structured_output() -> None:
    structured(False)
    structured_by_tool(False)


def chat_agent() -> None:
    agent(False)


def chat_agent_stream() -> None:
    agent_stream(False)


def responses() -> None:
    answer(True)


def responses_stream() -> None:
    stream(True)


def responses_structured_output() -> None:
    structured(True)
    structured_by_tool(True)


def responses_agent() -> None:
    agent(True)


def responses_agent_stream() -> None:
    agent_stream(True)


run(
    "langchain-openai",
    chat,
    chat_stream,
    chat_structured_output,
    chat_agent,
    chat_agent_stream,
    responses,
    responses_stream,
    responses_structured_output,
    responses_agent,
    responses_agent_stream,
)
