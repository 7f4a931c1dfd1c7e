"""LangChain's ChatOpenAI over chat completions and over Responses, and LangGraph's agent over both."""

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run_over
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from person import ADA, Person


def model(responses: bool) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key=API_KEY, max_retries=0, use_responses_api=responses)


def answer(responses: bool) -> None:
    equal(model(responses).invoke(SAY).text, SAID)


def stream(responses: bool) -> None:
    equal("".join(chunk.text for chunk in model(responses).stream(SAY)), SAID)


def structured_output(responses: bool) -> None:
    equal(model(responses).with_structured_output(Person).invoke(PERSON), ADA)
    prompt = 'Ada, 36 years old <<call Person {"name": "Ada", "age": 36}>>'
    equal(model(responses).with_structured_output(Person, method="function_calling").invoke(prompt), ADA)


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


run_over("langchain-openai", {"chat": False, "responses": True}, answer, stream, structured_output, agent, agent_stream)
