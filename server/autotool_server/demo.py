"""`autotool serve --demo`: two questions in three modes, and a line to try."""

import sys
import time

from openai import AsyncOpenAI
from rich.console import Console
from rich.live import Live
from rich.table import Table

from autotool_core.modes import Mode
from autotool_server.state import ServerState

QUESTIONS = {
    "easy": "What is the capital of France?",
    "hard": "A train leaves at 9:40 and arrives at 13:05. It stops twice, for 12 minutes each. How long does it move?",
}
MAX_TOKENS = 64


async def show(base_url: str, state: ServerState) -> None:
    """Ask the questions and print answers, tokens and seconds, then how to ask by hand."""
    console = Console(file=sys.stdout)
    table = Table("question", "mode", "resolved", "p_long", "tokens", "seconds", "answer", title="Two questions in three modes")
    key = state.settings.api_key
    modes = [mode for mode in Mode if mode not in state.service.renderer.refusals]
    async with AsyncOpenAI(base_url=base_url, api_key=key.get_secret_value() if key is not None else "none") as client:
        model = (await client.models.list()).data[0].id
        with Live(table, console=console, auto_refresh=False) as live:
            for difficulty, question in QUESTIONS.items():
                for mode in modes:
                    table.add_row(difficulty, mode.value, *await _ask(client, model, question, mode))
                    live.refresh()
    console.print(f"Ready at {base_url}. Try it:\n")
    console.print(_curl(base_url, model), soft_wrap=True, markup=False, highlight=False)
    console.print("\nCtrl-C ends the server.")


async def _ask(client: AsyncOpenAI, model: str, question: str, mode: Mode) -> tuple[str, ...]:
    began = time.perf_counter()
    completion = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_completion_tokens=MAX_TOKENS,
        extra_body={"mode": mode, "max_reasoning_tokens": MAX_TOKENS},
    )
    seconds = time.perf_counter() - began
    turn = (completion.model_extra or {})["autotool"]["turns"][0]
    p_long = "" if turn["p_long"] is None else f"{turn['p_long']:.2f}"
    tokens = completion.usage.completion_tokens if completion.usage else 0
    answer = " ".join((completion.choices[0].message.content or "").split())
    return turn["resolved"], p_long, str(tokens), f"{seconds:.1f}", answer


def _curl(base_url: str, model: str) -> str:
    return (
        f"curl {base_url}/chat/completions -H 'Content-Type: application/json' -d "
        f'\'{{"model": "{model}", "mode": "auto", "messages": [{{"role": "user", "content": "Hello!"}}]}}\''
    )
