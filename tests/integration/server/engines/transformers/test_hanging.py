"""A step of the model that never ends: the server says so, is no longer ready, and ends although the thread does not."""

import asyncio
import json
from pathlib import Path

import httpx
from support.served_process import serving, stream

HANGING = """
import sys, time
from autotool_cli.main import main
from autotool_server.engines import child_processes
from transformers import LlamaForCausalLM

forward, left = LlamaForCausalLM.forward, 20


def sleep(*arguments, **named):
    global left
    left -= 1
    while left < 0:
        time.sleep(1)
    return forward(*arguments, **named)


child_processes.LOOK_SECONDS = 0.5
LlamaForCausalLM.forward = sleep
sys.argv[:1] = ["autotool", "serve", "--engine", "transformers", "--engine-hang-seconds", "10"]
main()
"""
"""A server whose model hangs in its twentieth step, and is given 10 looks for a step."""
CHAT = "/v1/chat/completions"


async def test_a_step_that_hangs_ends_the_requests_and_the_process(tiny_model_dir: Path) -> None:
    model = ("--model", str(tiny_model_dir), "--served-model-name", "tiny", "--profile", "smollm2-autotool")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "?"}], "mode": "short", "ignore_eos": True}
    async with serving(*model, program=("-c", HANGING)) as server, httpx.AsyncClient(timeout=60) as client:
        begun = asyncio.Event()
        asking = asyncio.create_task(stream(server.url, CHAT, body | {"stream": True, "max_tokens": 100}, begun))
        await begun.wait()
        assert (await client.get(f"{server.url}/health/ready")).status_code == 200
        waiting = asyncio.create_task(client.post(server.url + CHAT, json=body))
        text, refused = await asking, await waiting
        code = await server.end()
    [*_, last] = [line for line in text.splitlines() if line]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_error"
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_error")
    assert "The engine has made no step for 10 seconds." in server.errors
    assert (code, server.errors.splitlines()[-1]) == (
        1,
        "autotool: The engine has died, and the server with it: The engine has made no step for 10 seconds.",
    )
