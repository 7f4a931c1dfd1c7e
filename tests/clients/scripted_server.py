"""A server whose model writes what the prompt tells it to, to the letter: `python scripted_server.py API_KEY`.

Everything but the decoding is the real server with the default model's tokenizer and chat template, so that a client meets its
protocols and its loop with answers that are the same in every run, and with prompts that are too large for a small model.

The newest user message that has steps is the script. A step is one turn of the model:

    <<call get_weather {"city": "Paris"}>> <<say It is 18 degrees in Paris.>>

calls the tool, and says the text once the result is there. A `+` joins what belongs to one turn:

    <<think Two cities.>>+<<call get_weather {"city": "Paris"}>>+<<call get_weather {"city": "Rome"}>>

In the text of a step, RESULT stands for the newest tool result. Without steps, and when they are used up, the model says HELLO.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from pydantic import SecretStr

from autotool_core.profile import BUILTIN
from autotool_core.tokenizer import Tokenizer
from autotool_server import default_model
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.base import EngineRequest, Score
from autotool_server.engines.checkpoint import eos_token_ids, load_tokenizer
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.launch.listener import base_url, listen
from autotool_server.settings import Settings
from autotool_server.tools.config import create_registry

MODEL = "scripted"
HELLO = "Hello from the scripted model."
THOUGHT = "This needs no thought."
MAX_MODEL_LEN = 200_000
ORIGIN = "http://app.example"
"""The origin of the web page that may call the server."""

TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?=<\|im_end\|>|\Z)", re.DOTALL)
PART = re.compile(r"<<(think|call|say) (.*?)>>(\+?)", re.DOTALL)
RESULT = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)


@dataclass
class Step:
    """What the model writes in one turn."""

    thought: str = ""
    answer: str = ""

    def add(self, verb: str, text: str) -> None:
        """Append a part of the script."""
        if verb == "think":
            self.thought = text
        elif verb == "say":
            self.answer += text
        else:
            name, _, arguments = text.partition(" ")
            call = f'<tool_call>\n{{"name": "{name}", "arguments": {arguments or "{}"}}}\n</tool_call>'
            self.answer += f"\n{call}" if self.answer else call


def read_steps(text: str) -> list[Step]:
    """Return the steps of a user message."""
    steps: list[Step] = []
    joined = False
    for verb, part, plus in PART.findall(text):
        if not joined:
            steps.append(Step())
        steps[-1].add(verb, part)
        joined = bool(plus)
    return steps


def next_step(prompt: str) -> Step:
    """Return the step that a prompt asks for."""
    turns = TURN.findall(prompt)
    for index in range(len(turns) - 1, -1, -1):
        role, text = turns[index]
        if role == "user" and not text.startswith("\n<tool_response>") and (steps := read_steps(text)):
            taken = sum(role == "assistant" for role, _ in turns[index + 1 :]) - 1
            return _filled(steps[taken], prompt) if taken < len(steps) else Step(answer=HELLO)
    return Step(answer=HELLO)


def _filled(step: Step, prompt: str) -> Step:
    results = RESULT.findall(prompt)
    return Step(step.thought, step.answer.replace("RESULT", results[-1] if results else ""))


def write(prompt: str) -> str:
    """Return what the model writes after a prompt, whose last turn ends with the response prefix or within the turn."""
    step, begun = next_step(prompt), prompt.rpartition("<|im_start|>assistant\n")[2]
    if begun.startswith("<think>") and "</think>" not in begun:
        return f"{step.thought or THOUGHT}\n</think>\n\n{step.answer}"
    return step.answer


class PromptedEngine(ScriptedEngine):
    """Writes what the prompt tells it to, and thinks in `auto` where the script has a thought."""

    model_name = MODEL
    max_model_len = MAX_MODEL_LEN

    def __init__(self, tokenizer: Tokenizer, eos: tuple[int, ...]) -> None:
        super().__init__(tokenizer, eos, self._script)

    def _script(self, request: EngineRequest) -> Sequence[int]:
        self.requests.clear()  # the engine keeps them for tests
        text = write(self.tokenizer.decode(list(request.prompt_ids), skip_special_tokens=False))
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.eos_token_ids[0]]

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...], **options: Any) -> Score:
        prompt = self.tokenizer.decode(list(prompt_ids), skip_special_tokens=False)
        self.log_odds = 50.0 if next_step(prompt).thought else -50.0
        return await super().score(request_id, prompt_ids, candidates, **options)


async def serve(api_key: str, folder: str) -> None:
    """Serve on a free port until a signal, and print the address as `autotool serve` does. Answers are stored in a folder."""
    tokenizer = load_tokenizer(str(default_model.ensure()))
    engine = PromptedEngine(tokenizer, eos_token_ids(None, tokenizer))
    settings = Settings(
        port=0,
        api_key=SecretStr(api_key),
        max_body_bytes=2**26,
        allowed_origins=(ORIGIN,),
        response_store=f"sqlite:///{folder}/responses.db",
        builtin_tools="calculator",
    )
    async with create_registry(settings) as registry:
        state = ServerState(settings)
        state.service = ConversationService(engine, BUILTIN["smollm2-autotool"], MODEL, settings, registry)
        listener = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(create_app(state), log_level="warning", access_log=True))
        print(f"Ready at {base_url(listener)}", flush=True)  # the port queues until the server accepts
        await server.serve([listener])


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        asyncio.run(serve(sys.argv[1], temporary))
