"""`autotool chat`: a chat in the terminal that shows the reasoning and the mode of each answer.

Reasoning is dimmed; a line after each answer reports its mode, who decided, and what it cost. With a pipe for
standard input every line is a message: `echo "What is 2+2?" | autotool chat --mode short`.
"""

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import Annotated

import openai
import typer
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionAssistantMessageParam, ChatCompletionChunk, ChatCompletionMessageParam
from rich.console import Console

from autotool_client.client import DEFAULT_BASE_URL, AutoTool
from autotool_client.discovery import first_model
from autotool_client.errors import user_message
from autotool_client.models import Url
from autotool_client.record import DecisionRecord, reasoning, record
from autotool_core.modes import Mode

with contextlib.suppress(ImportError):  # Windows has no readline; input() works without it
    import readline  # noqa: F401 gives input() editing and a history

COMMANDS = {
    "/long": "reason before every answer",
    "/short": "answer at once",
    "/auto": "let the model decide",
    "/reset": "forget the conversation",
    "/help": "show this list",
    "/quit": "leave (so does Ctrl-D); Ctrl-C cancels an answer",
}

# A model's text must not control the terminal: control characters are shown as pictures, line breaks and tabs are kept.
VISIBLE = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(0x7F, 0xA0), "\ufffd"
)

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class AssistantMessage(ChatCompletionAssistantMessageParam, total=False):
    """An answer in the history; its reasoning is sent back too, so that the server finds its prompt in the cache."""

    reasoning_content: str


@dataclass(slots=True)
class StreamedAnswer:
    """The part of an answer that has been streamed."""

    reasoning: str = ""
    content: str = ""
    finish_reason: str | None = None
    usage: CompletionUsage | None = None
    record: DecisionRecord | None = None
    started: float = field(default_factory=time.monotonic)

    def message(self) -> AssistantMessage:
        """Return the answer as a message of the next request's history."""
        message = AssistantMessage(role="assistant", content=self.content)
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        return message

    def summary(self) -> str:
        """Return modes, who decided, tokens and seconds in one line."""
        parts = _turns(self.record) if self.record else _tokens(self.usage)
        if self.finish_reason == "length":
            parts.append("cut off at the token limit")
        return " · ".join([*parts, f"{time.monotonic() - self.started:.1f} s"])


def _turns(record: DecisionRecord) -> list[str]:
    probabilities = [f"p_long {turn.p_long:.2f}" for turn in record.turns if turn.p_long is not None]
    decided = ", ".join(dict.fromkeys(f"decided by {turn.decided_by}" for turn in record.turns))
    reasoning_tokens = sum(turn.reasoning_tokens for turn in record.turns)
    cut = " (cut)" if any(turn.reasoning_truncated for turn in record.turns) else ""
    content_tokens = sum(turn.content_tokens for turn in record.turns)
    return [
        ", ".join(str(turn.resolved) for turn in record.turns),
        decided,
        *probabilities,
        f"{reasoning_tokens} reasoning{cut} + {content_tokens} content tokens",
    ]


def _tokens(usage: CompletionUsage | None) -> list[str]:
    return [f"{usage.completion_tokens} tokens"] if usage else []


@dataclass(slots=True)
class Terminal:
    """A conversation and the screen that shows it."""

    client: AutoTool
    model: str
    mode: Mode | None
    system: str | None
    console: Console
    interactive: bool
    """Whether a person types the lines, who is prompted and can try again."""
    history: list[ChatCompletionMessageParam] = field(default_factory=list)

    def run(self) -> None:
        """StreamedAnswer lines until they end or a line is /quit. Raises openai.OpenAIError if the chat is not interactive."""
        while True:
            line = ""
            try:
                line = self._read()
                if line == "/quit":
                    return
                self._handle(line)
            except EOFError:
                return
            except (KeyboardInterrupt, openai.OpenAIError) as error:
                if not self.interactive:
                    raise
                self._report_failure(error, line)

    def _read(self) -> str:
        return input(f"{self.mode or 'default'}> " if self.interactive else "").strip()

    def _report_failure(self, error: KeyboardInterrupt | openai.OpenAIError, line: str) -> None:
        if isinstance(error, openai.OpenAIError):
            self.console.out(f"\n{user_message(error)}", style="red", highlight=False)
        else:
            self._note("\nCancelled; this message and its answer are forgotten." if line else "")

    def _handle(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if line.startswith("/") and name[1:].isalpha():
            self._command(name, rest)
        elif line:
            self._answer(line)

    def _command(self, name: str, rest: str) -> None:
        if name not in COMMANDS:
            self._note(f"Unknown command {name}; /help lists the commands.")
        elif rest:
            self._note(f"{name} takes no argument.")
        elif name == "/help":
            self._note("\n".join(f"{name:<8}{text}" for name, text in COMMANDS.items()))
        elif name == "/reset":
            self.history = []
            self._note("The conversation is cleared.")
        else:
            self.mode = Mode(name[1:])
            self._note(f"Mode: {self.mode}.")

    def _answer(self, text: str) -> None:
        """Stream an answer; question and answer are added to the history together, once the answer is complete."""
        messages: list[ChatCompletionMessageParam] = [*self.history, {"role": "user", "content": text}]
        answer = self._stream(messages)
        self.history = [*messages, answer.message()]
        self._note(answer.summary())

    def _stream(self, messages: list[ChatCompletionMessageParam]) -> StreamedAnswer:
        instructions: list[ChatCompletionMessageParam] = [{"role": "system", "content": self.system}] if self.system else []
        answer = StreamedAnswer()
        with self.client.chat.completions.create(
            model=self.model,
            messages=[*instructions, *messages],
            mode=self.mode.value if self.mode else None,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            for chunk in stream:
                self._read_chunk(chunk, answer)
        self.console.out()
        if answer.finish_reason is None:
            raise openai.OpenAIError("The server ended the stream before the answer was complete.")
        return answer

    def _read_chunk(self, chunk: ChatCompletionChunk, answer: StreamedAnswer) -> None:
        answer.usage = chunk.usage or answer.usage
        answer.record = record(chunk) or answer.record
        for choice in chunk.choices:
            answer.finish_reason = choice.finish_reason or answer.finish_reason
            self._show(reasoning(choice.delta) or "", choice.delta.content or "", answer)

    def _show(self, reasoning_text: str, content: str, answer: StreamedAnswer) -> None:
        answer.reasoning += reasoning_text
        self._write(reasoning_text, style="dim")
        if content and answer.reasoning and not answer.content:
            self._write("\n\n")
        answer.content += content
        self._write(content)

    def _write(self, text: str, style: str | None = None) -> None:
        if text:
            self.console.out(text.translate(VISIBLE), style=style, end="", highlight=False)

    def _note(self, text: str) -> None:
        self.console.out(text, style="cyan dim", highlight=False)


@command.command()
def chat(
    url: Url = DEFAULT_BASE_URL,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model to chat with. Default: the server's first.")] = None,
    mode: Annotated[
        Mode | None, typer.Option(metavar="auto|long|short", help="Mode of the first messages. Default: the server's.")
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message.")] = None,
) -> None:
    """Chat with a model in the terminal.

    Reasoning is dimmed; a line after each answer reports its mode, who decided, and what it cost. /long, /short and /auto
    switch the mode, /help lists the other commands, Ctrl-C cancels an answer, Ctrl-D leaves. With a pipe for standard
    input every line is a message. If the server needs a key, it is read from AUTOTOOL_API_KEY.
    """
    client = AutoTool(base_url=url, max_retries=0)
    terminal = Terminal(client, model or first_model(client), mode, system, Console(), sys.stdin.isatty())
    if terminal.interactive:
        terminal.console.out(f"{terminal.model} at {client.base_url} · /help lists the commands", highlight=False)
    terminal.run()
    if terminal.interactive:
        terminal.console.out()
