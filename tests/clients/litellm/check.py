"""LiteLLM's SDK: completion, responses and messages."""

import json

import litellm
from checks import (
    API_KEY,
    BASE_URL,
    MODEL,
    PERSON,
    ROOT_URL,
    SAID,
    SAY,
    THREE_TURNS,
    THREE_TURNS_SAID,
    equal,
    get_weather,
    run,
)
from person import ADA, Person

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def complete(content: str, provider: str = "openai", **options: object):
    return litellm.completion(
        f"{provider}/{MODEL}",
        messages=[{"role": "user", "content": content}],
        api_base=BASE_URL,
        api_key=API_KEY,
        max_retries=0,
        **options,
    )


def chat() -> None:
    equal(complete(SAY).choices[0].message.content, SAID)


def chat_stream() -> None:
    chunks = complete(SAY, stream=True, stream_options={"include_usage": True})
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), SAID)


def tool_loop(provider: str) -> None:
    messages: list[object] = [{"role": "user", "content": THREE_TURNS}]
    for _ in range(4):
        answer = litellm.completion(
            f"{provider}/{MODEL}",
            messages=messages,
            tools=[TOOL],
            api_base=BASE_URL,
            api_key=API_KEY,
            max_retries=0,
        )
        message = answer.choices[0].message
        messages.append(message)
        for call in message.tool_calls or []:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": result})
    equal(message.content, THREE_TURNS_SAID)
    equal(len(messages), 8)


def chat_tool_loop() -> None:
    tool_loop("openai")


def hosted_vllm_tool_loop() -> None:
    tool_loop("hosted_vllm")


def chat_structured_output() -> None:
    answer = complete(PERSON, response_format=Person)
    equal(Person.model_validate_json(answer.choices[0].message.content), ADA)


def responses() -> None:
    answer = litellm.responses(model=f"openai/{MODEL}", input=SAY, api_base=BASE_URL, api_key=API_KEY)
    equal(answer.output[-1].content[0].text, SAID)


def responses_stream() -> None:
    events = litellm.responses(model=f"openai/{MODEL}", input=SAY, stream=True, api_base=BASE_URL, api_key=API_KEY)
    equal("".join(event.delta for event in events if event.type == "response.output_text.delta"), SAID)


def messages() -> None:
    answer = litellm.completion(
        f"anthropic/{MODEL}", messages=[{"role": "user", "content": SAY}], api_base=ROOT_URL, api_key=API_KEY
    )
    equal(answer.choices[0].message.content, SAID)


run(
    "litellm",
    chat,
    chat_stream,
    chat_tool_loop,
    hosted_vllm_tool_loop,
    chat_structured_output,
    responses,
    responses_stream,
    messages,
)
