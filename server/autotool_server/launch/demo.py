"""`autotool serve --demo` answers two requests in three modes and prints a command to try."""

import json
import time
from typing import Any

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage
from rich.live import Live
from rich.table import Table

from autotool_core.calls import Call
from autotool_core.console import plain_console
from autotool_core.graded.domains import WEEKDAYS
from autotool_core.modes import Mode
from autotool_server.api import access_log
from autotool_server.api.state import ServerState
from autotool_server.launch import ready

HARD = (
    "A list of rooms: Anna blue, Ben green, Carla red. A table of hours: Anna 2, Ben 3, Carla 5. Please reserve the room that "
    "the list has for Carla, for as many hours as the table has for Ben and 4 more, on the day 2 days after Friday."
)
REQUESTS = {"easy": "What is the weather in Paris?", "hard": HARD}
MAX_TOKENS = 256


def _tool(name: str, description: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": [*properties]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
DAY = {"type": "string", "enum": [*WEEKDAYS]}
TOOLS = [
    _tool("get_weather", "Get the weather in a city.", city=TEXT),
    _tool("reserve_room", "Reserve a meeting room for a number of minutes.", room=TEXT, minutes=NUMBER, day=DAY),
]
"""Client tools, so that a call ends the request."""


async def run_demo(base_url: str, state: ServerState) -> None:
    """Send the requests; print answers, tokens and seconds, then a command that sends another request."""
    console = plain_console()  # an answer of the model may look like markup
    table = Table("request", "mode", "resolved", "p_long", "tokens", "seconds", "answer", title="Two requests in three modes")
    key = state.settings.api_key
    modes = [mode for mode in Mode if mode not in state.service.renderer.refusals]
    for difficulty, request in REQUESTS.items():
        console.print(f"{difficulty}: {request}")
    async with AsyncOpenAI(base_url=base_url, api_key=key.get_secret_value() if key is not None else "none") as client:
        model = state.service.model
        with access_log.paused(), Live(table, console=console, auto_refresh=False) as live:
            for difficulty, request in REQUESTS.items():
                for mode in modes:
                    table.add_row(difficulty, mode.value, *await _row(client, model, request, mode))
                    live.refresh()
    console.print("\n".join(ready.lines(base_url, state)), soft_wrap=True)
    console.print("\nTry it:\n")
    console.print(_curl(base_url, model, needs_key=key is not None), soft_wrap=True)
    console.print("\nCtrl-C ends the server.")


async def _row(client: AsyncOpenAI, model: str, request: str, mode: Mode) -> tuple[str, ...]:
    start = time.perf_counter()
    completion = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": request}],
        tools=TOOLS,
        temperature=0,
        max_completion_tokens=MAX_TOKENS,
        extra_body={"mode": mode, "max_reasoning_tokens": MAX_TOKENS},
    )
    seconds = time.perf_counter() - start
    turn = (completion.model_extra or {})["autotool"]["turns"][0]
    p_long = "" if turn["p_long"] is None else f"{turn['p_long']:.2f}"
    tokens = completion.usage.completion_tokens if completion.usage else 0
    return turn["resolved"], p_long, str(tokens), f"{seconds:.1f}", _answer(completion.choices[0].message)


def _answer(message: ChatCompletionMessage) -> str:
    """Return the calls in Python's syntax, or the text if there are no calls."""
    calls = [call for call in message.tool_calls or [] if call.type == "function"]
    written = [_python_call(call.function.name, call.function.arguments) for call in calls]
    return ", ".join(written) or " ".join((message.content or "").split())


def _python_call(name: str, arguments: str) -> str:
    try:
        call = Call.parse(name, arguments)
    except ValueError:  # a model may write arguments that are no JSON object
        return f"{name}({arguments})"
    values = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
    return f"{name}({', '.join(values)})"


def _curl(base_url: str, model: str, *, needs_key: bool) -> str:
    # The key itself is not shown: a terminal's lines are kept and copied.
    key = '-H "Authorization: Bearer $AUTOTOOL_API_KEY" ' if needs_key else ""
    return (
        f"curl {base_url}/chat/completions {key}-H 'Content-Type: application/json' -d "
        f'\'{{"model": "{model}", "mode": "auto", "messages": [{{"role": "user", "content": "Hello!"}}]}}\''
    )
