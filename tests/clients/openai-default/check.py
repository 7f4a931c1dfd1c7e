"""OpenAI's own client with the default model, which decodes on this machine: what it says is not checked, but its form is."""

from checks import API_KEY, BASE_URL, MODEL, run
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel, Field

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)
QUESTION = [{"role": "user", "content": "Which is the largest planet? Answer in one sentence."}]
INTRODUCTION = [{"role": "user", "content": "I am Ada, and I am 36 years old."}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


class GetWeather(BaseModel):
    """Get the weather of a city."""

    city: str = Field(max_length=20)


def holds(condition: object, found: object) -> None:
    if not condition:
        raise AssertionError(repr(found))


def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=64)
    holds(answer.choices[0].message.content and answer.usage.completion_tokens <= 64, answer)


def chat_stream() -> None:
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, max_completion_tokens=64) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        holds(text and text == stream.get_final_completion().choices[0].message.content, text)


def chat_parse() -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=INTRODUCTION, response_format=Person, max_completion_tokens=200
    )
    holds(answer.choices[0].message.parsed, answer)


def chat_tools() -> None:
    tools = [pydantic_function_tool(GetWeather)]
    messages: list[object] = list(WEATHER)
    answer = client.chat.completions.parse(
        model=MODEL, messages=messages, tools=tools, tool_choice="required", max_completion_tokens=200
    )
    calls = answer.choices[0].message.tool_calls
    holds(calls and isinstance(calls[0].function.parsed_arguments, GetWeather), answer)
    messages.append(answer.choices[0].message)
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees, sunny"} for call in calls]
    last = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=64)
    holds(last.choices[0].message.content, last)


def responses() -> None:
    answer = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=64)
    holds(answer.output_text, answer)


def responses_parse() -> None:
    answer = client.responses.parse(model=MODEL, input=INTRODUCTION, text_format=Person, max_output_tokens=200)
    holds(answer.output_parsed, answer)


def responses_tools() -> None:
    parameters = {**GetWeather.model_json_schema(), "additionalProperties": False}
    tools = [{"type": "function", "name": "get_weather", "parameters": parameters, "strict": True}]
    items: list[object] = list(WEATHER)
    answer = client.responses.create(model=MODEL, input=items, tools=tools, tool_choice="required", max_output_tokens=200)
    calls = [item for item in answer.output if item.type == "function_call"]
    holds(calls and GetWeather.model_validate_json(calls[0].arguments), answer)
    items += answer.output
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"} for call in calls]
    last = client.responses.create(model=MODEL, input=items, max_output_tokens=64)
    holds(last.output_text, last)


run("openai", chat, chat_stream, chat_parse, chat_tools, responses, responses_parse, responses_tools)
