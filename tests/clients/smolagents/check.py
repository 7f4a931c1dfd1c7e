"""smolagents: the model, a tool-calling agent and a code agent."""

from checks import API_KEY, BASE_URL, MODEL, SAID, SAY, equal, get_weather, run
from smolagents import CodeAgent, OpenAIModel, ToolCallingAgent, tool

WEATHER = (
    '<<call get_weather {"city": "Paris"}>> <<call get_weather {"city": "Oslo"}>> '
    '<<call final_answer {"answer": "Oslo is colder."}>>'
)
CODE = '<<say Thought: I ask.\n<code>\nfinal_answer("It is " + get_weather("Paris"))\n</code> >>'


def model() -> OpenAIModel:
    return OpenAIModel(MODEL, api_base=BASE_URL, api_key=API_KEY)


def chat() -> None:
    equal(model().generate([{"role": "user", "content": SAY}]).content, SAID)


def chat_stream() -> None:
    parts = model().generate_stream([{"role": "user", "content": SAY}])
    equal("".join(part.content or "" for part in parts), SAID)


def tool_calling_agent() -> None:
    equal(ToolCallingAgent([tool(get_weather)], model(), verbosity_level=0).run(WEATHER), "Oslo is colder.")


def streamed_tool_calling_agent() -> None:
    agent = ToolCallingAgent([tool(get_weather)], model(), stream_outputs=True, verbosity_level=0)
    equal(agent.run(WEATHER), "Oslo is colder.")


def code_agent() -> None:
    equal(CodeAgent([tool(get_weather)], model(), verbosity_level=0).run(CODE), "It is 18 degrees")


def code_agent_with_structured_outputs() -> None:
    prompt = """<<say {"thought": "I ask.", "code": "final_answer(get_weather('Oslo'))"}>>"""
    agent = CodeAgent([tool(get_weather)], model(), use_structured_outputs_internally=True, verbosity_level=0)
    equal(agent.run(prompt), "3 degrees")


run(
    "smolagents",
    chat,
    chat_stream,
    tool_calling_agent,
    streamed_tool_calling_agent,
    code_agent,
    code_agent_with_structured_outputs,
)
