"""LiteLLM's proxy in front of the server: tool loops of three calls through it, with OpenAI's client and over Messages."""

import json
import socket
import subprocess
import time
from pathlib import Path

import httpx
from checks import API_KEY, BASE_URL, MODEL, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, get_weather, run
from openai import OpenAI

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
KEY = "sk-proxy"
URL = f"http://127.0.0.1:{PORT}"
CONFIG = {
    "model_list": [
        {"model_name": "tested", "litellm_params": {"model": f"openai/{MODEL}", "api_base": BASE_URL, "api_key": API_KEY}},
        {"model_name": "vllm", "litellm_params": {"model": f"hosted_vllm/{MODEL}", "api_base": BASE_URL, "api_key": API_KEY}},
    ],
    "general_settings": {"master_key": KEY},
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


def start() -> None:
    Path("config.json").write_text(json.dumps(CONFIG))
    with Path("proxy.log").open("w") as log:
        command = ["litellm", "--config", "config.json", "--host", "127.0.0.1", "--port", str(PORT)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{URL}/health/liveliness").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the proxy did not start: {Path('proxy.log').read_text()[-1000:]}")


def tool_loop(model: str) -> None:
    messages: list[object] = [{"role": "user", "content": THREE_TURNS}]
    for _ in range(4):
        message = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message
        messages.append(message.model_dump(exclude_none=True))  # with the fields that LiteLLM adds
        for call in message.tool_calls or []:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    equal(message.content, THREE_TURNS_SAID)


def chat() -> None:
    answer = client.chat.completions.create(model="tested", messages=[{"role": "user", "content": SAY}])
    equal(answer.choices[0].message.content, SAID)


def chat_stream() -> None:
    with client.chat.completions.stream(model="tested", messages=[{"role": "user", "content": SAY}]) as stream:
        equal("".join(event.delta for event in stream if event.type == "content.delta"), SAID)


def chat_tool_loop() -> None:
    tool_loop("tested")


def hosted_vllm_tool_loop() -> None:
    tool_loop("vllm")


def streamed_tool_loop() -> None:
    messages: list[object] = [{"role": "user", "content": THREE_TURNS}]
    for _ in range(4):
        with client.chat.completions.stream(model="tested", messages=messages, tools=TOOLS) as stream:
            message = stream.get_final_completion().choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or []:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    equal(message.content, THREE_TURNS_SAID)


def messages_by_the_proxy() -> None:
    """Anthropic's Messages at the proxy, which it turns into a request of its own choice to the server."""
    messages: list[object] = [{"role": "user", "content": THREE_TURNS}]
    tools = [{"name": "get_weather", "description": "Get the weather.", "input_schema": PARAMETERS}]
    for _ in range(4):
        body = {"model": "tested", "max_tokens": 2000, "messages": messages, "tools": tools}
        answer = httpx.post(f"{URL}/v1/messages", json=body, headers={"x-api-key": KEY}, timeout=60)
        equal(answer.status_code, 200)
        blocks = answer.json()["content"]
        messages.append({"role": "assistant", "content": blocks})
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": get_weather(**block["input"])}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
    equal(blocks[-1]["text"], THREE_TURNS_SAID)


run(
    "litellm",
    start,
    chat,
    chat_stream,
    chat_tool_loop,
    hosted_vllm_tool_loop,
    streamed_tool_loop,
    messages_by_the_proxy,
)
