"""OpenAI's own client: chat completions and Responses."""

import json

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, WEATHER, WEATHER_SAID, equal, get_weather, run
from openai import OpenAI
from person import ADA, Person

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": SAY}])
    equal(answer.choices[0].message.content, SAID)
    equal(answer.choices[0].finish_reason, "stop")


def chat_stream() -> None:
    with client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": SAY}]) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
    equal(text, SAID)


def chat_parse() -> None:
    messages = [{"role": "user", "content": PERSON}]
    answer = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Person)
    equal(answer.choices[0].message.parsed, ADA)


def chat_tools() -> None:
    function = {"name": "get_weather", "parameters": PARAMETERS, "strict": True}
    messages = [{"role": "user", "content": WEATHER}]
    for _ in range(2):
        answer = client.chat.completions.create(
            model=MODEL, messages=messages, tools=[{"type": "function", "function": function}]
        )
        message = answer.choices[0].message
        messages.append(message)
        for call in message.tool_calls or []:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    equal(message.content, WEATHER_SAID)


def responses() -> None:
    equal(client.responses.create(model=MODEL, input=SAY).output_text, SAID)


def responses_chained() -> None:
    first = client.responses.create(model=MODEL, input=SAY)
    second = client.responses.create(model=MODEL, input="<<say Again.>>", previous_response_id=first.id)
    equal(second.output_text, "Again.")
    equal(client.responses.retrieve(first.id).output_text, SAID)
    equal(client.responses.input_items.list(second.id).data[0].role, "user")
    client.responses.delete(first.id)


def responses_stream() -> None:
    with client.responses.stream(model=MODEL, input=SAY) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        equal(stream.get_final_response().output_text, SAID)
    equal(text, SAID)


def responses_parse() -> None:
    answer = client.responses.parse(model=MODEL, input=PERSON, text_format=Person)
    equal(answer.output_parsed, ADA)


def responses_tools() -> None:
    tools = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}]
    items = [{"role": "user", "content": WEATHER}]
    for _ in range(2):
        answer = client.responses.create(model=MODEL, input=items, tools=tools)
        items += answer.output
        for call in answer.output:
            if call.type == "function_call":
                result = get_weather(**json.loads(call.arguments))
                items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    equal(answer.output_text, WEATHER_SAID)


run(
    "openai",
    chat,
    chat_stream,
    chat_parse,
    chat_tools,
    responses,
    responses_chained,
    responses_stream,
    responses_parse,
    responses_tools,
)
