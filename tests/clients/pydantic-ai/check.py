"""Pydantic AI: OpenAIChatModel and OpenAIResponsesModel."""

from checks import API_KEY, BASE_URL, MODEL, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run_over
from person import ADA, Person
from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)
PROTOCOLS = {"chat": OpenAIChatModel(MODEL, provider=PROVIDER), "responses": OpenAIResponsesModel(MODEL, provider=PROVIDER)}


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


def structured_output(model: object) -> None:
    ada = '{"name": "Ada", "age": 36}'
    for kind, verb in ((Person, "call final_result"), (NativeOutput(Person), "say"), (PromptedOutput(Person), "say")):
        equal(Agent(model, output_type=kind).run_sync(f"Ada <<{verb} {ada}>>").output, ADA)


run_over("pydantic-ai-slim", PROTOCOLS, answer, stream, tools, structured_output)
