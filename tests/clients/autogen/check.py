"""AutoGen: OpenAIChatCompletionClient and an assistant agent."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from person import ADA, Person

INFO = {"vision": False, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown"}


def client() -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(model=MODEL, base_url=BASE_URL, api_key=API_KEY, model_info=INFO, max_retries=0)


async def chat() -> None:
    equal((await client().create([UserMessage(content=SAY, source="user")])).content, SAID)


async def chat_stream() -> None:
    parts = [part async for part in client().create_stream([UserMessage(content=SAY, source="user")])]
    equal("".join(part for part in parts if isinstance(part, str)), SAID)


async def agent() -> None:
    assistant = AssistantAgent("guide", client(), tools=[get_weather], max_tool_iterations=5)
    equal((await assistant.run(task=THREE_TURNS)).messages[-1].content, THREE_TURNS_SAID)


async def agent_stream() -> None:
    assistant = AssistantAgent("guide", client(), tools=[get_weather], max_tool_iterations=5, model_client_stream=True)
    events = [event async for event in assistant.run_stream(task=THREE_TURNS)]
    text = "".join(event.content for event in events if isinstance(event, ModelClientStreamingChunkEvent))
    if not text.endswith(THREE_TURNS_SAID):
        raise AssertionError(repr(text))


async def structured_output() -> None:
    assistant = AssistantAgent("guide", client(), output_content_type=Person)
    equal((await assistant.run(task=PERSON)).messages[-1].content, ADA)


run("autogen-ext", chat, chat_stream, agent, agent_stream, structured_output)
