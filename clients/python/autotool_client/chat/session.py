"""The loop of the chat: read a message or a command, stream the answer, ask for approvals."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import openai
from openai.types.chat import ChatCompletionMessageParam

from autotool_client.chat import commands
from autotool_client.chat.answer import StreamedAnswer, summary
from autotool_client.chat.commands import Commands
from autotool_client.chat.conversation import Conversation
from autotool_client.chat.reader import Reader
from autotool_client.chat.screen import Screen, call_text
from autotool_client.client import AsyncAutoTool
from autotool_client.errors import user_message
from autotool_client.record import PendingCall
from autotool_core.errors import AutoToolError


@dataclass(slots=True)
class Session:
    """A conversation between a reader and a server."""

    client: AsyncAutoTool
    conversation: Conversation
    commands: Commands
    screen: Screen
    reader: Reader
    runner: asyncio.Runner
    interactive: bool
    """Whether a person reads, who can try again."""
    _called: list[str] = field(default_factory=list[str])
    """Server tools that were called for the message that is being answered."""

    def run(self) -> None:
        """Answer messages until they end or a line is /quit.

        Raises openai.OpenAIError for a failed answer and AutoToolError for a failed command if the chat is not interactive.
        """
        while True:
            try:
                line = self.reader.read(f"{self.conversation.mode_that_holds or 'default'}> ").strip()
                if line == "/quit":
                    return
                self._handle(line)
            except EOFError:
                return
            except (KeyboardInterrupt, openai.OpenAIError, AutoToolError) as error:
                if not self.interactive:
                    raise
                self._report_failure(error)

    def _handle(self, line: str) -> None:
        self._called = []
        if command := commands.split(line):
            self.commands.run(*command)
        elif line:
            self._answer(line)

    def _report_failure(self, error: KeyboardInterrupt | openai.OpenAIError | AutoToolError) -> None:
        match error:
            case openai.OpenAIError():
                self.screen.failure(user_message(error))
            case AutoToolError():
                self.screen.failure(str(error))
            case _:
                self.screen.note("Stopped; this message and its answer are forgotten.")
        if self._called:
            self.screen.note(f"Calls that were made stay made: {', '.join(dict.fromkeys(self._called))}.")

    def _answer(self, text: str) -> None:
        """Show an answer; question and answer are added to the history together, once the answer is complete."""
        messages: list[ChatCompletionMessageParam] = [*self.conversation.messages, {"role": "user", "content": text}]
        answers = [self._stream(messages, None)]
        messages += answers[-1].messages()
        while pending := answers[-1].pending:
            answers.append(self._stream(messages, self._ask(pending)))
            messages += answers[-1].messages()
        self.conversation.messages = messages
        self.screen.note(summary(answers))
        if self.conversation.mode is None and (record := answers[-1].record):
            self.conversation.default_mode = record.mode

    def _ask(self, pending: Sequence[PendingCall]) -> dict[str, bool]:
        """Return whether each call may run."""
        return {call.id: self._approves(call) for call in pending}

    def _approves(self, call: PendingCall) -> bool:
        self.screen.note(f"Run {call_text(call.name, call.arguments)}?")
        approved = self.reader.confirm()
        if approved is None:
            self.screen.note("Not run: approval needs a terminal.")
        return bool(approved)

    def _stream(self, messages: Sequence[ChatCompletionMessageParam], approvals: dict[str, bool] | None) -> StreamedAnswer:
        answer = StreamedAnswer()
        try:
            with self.reader.answering():
                self.runner.run(self._read_stream(answer, messages, approvals))
        finally:
            self._called += answer.called
        if answer.finish_reason is None:
            raise openai.OpenAIError("The server ended the stream before the answer was complete.")
        return answer

    async def _read_stream(
        self, answer: StreamedAnswer, messages: Sequence[ChatCompletionMessageParam], approvals: dict[str, bool] | None
    ) -> None:
        request = self.conversation.request(messages, approvals)
        async with self.screen.answering(), await self.client.chat.completions.create(**request, stream=True) as stream:
            async for chunk in stream:
                answer.read(chunk, self.screen)
