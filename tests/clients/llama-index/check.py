"""LlamaIndex's OpenAILike, and its function agent."""

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from person import ADA, Person


def model(**options: bool) -> OpenAILike:
    options = {"is_chat_model": True, "is_function_calling_model": True, **options}
    return OpenAILike(model=MODEL, api_base=BASE_URL, api_key=API_KEY, context_window=8192, max_retries=0, **options)


def chat() -> None:
    equal(model().chat([ChatMessage(SAY)]).message.content, SAID)


def chat_stream() -> None:
    equal("".join(part.delta or "" for part in model().stream_chat([ChatMessage(SAY)])), SAID)


async def agent() -> None:
    running = FunctionAgent(tools=[FunctionTool.from_defaults(get_weather)], llm=model())
    equal(str(await running.run(THREE_TURNS)), THREE_TURNS_SAID)


def structured_output() -> None:
    answer = model(should_use_structured_outputs=True).as_structured_llm(Person).chat([ChatMessage(PERSON)])
    equal(answer.raw, ADA)


def structured_output_by_tool() -> None:
    answer = model().as_structured_llm(Person).chat([ChatMessage('<<call Person {"name": "Ada", "age": 36}>>')])
    equal(answer.raw, ADA)


def completions() -> None:
    text = model(is_chat_model=False).complete("Once upon a time").text
    if not text:
        raise AssertionError("the text is empty")


def completions_stream() -> None:
    text = "".join(part.delta or "" for part in model(is_chat_model=False).stream_complete("Once upon a time"))
    if not text:
        raise AssertionError("the text is empty")


run(
    "llama-index-llms-openai-like",
    chat,
    chat_stream,
    agent,
    structured_output,
    structured_output_by_tool,
    completions,
    completions_stream,
)
