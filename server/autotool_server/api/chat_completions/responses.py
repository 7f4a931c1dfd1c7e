"""The way out: from a job's outputs to OpenAI's answers, one JSON object or chunks. Both are made from the same events."""

import json
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from typing import Any

from openai.types.chat import ChatCompletion

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.tokenizer import Tokenizer
from autotool_server.api.chat_completions.answers import AnswerOptions, logprobs_of, prompt_token_ids, stop_reason
from autotool_server.api.openai_answers import logprob_entries, usage
from autotool_server.api.protocol import ResponseBuilder, StreamWriter
from autotool_server.conversation.choice import Choice, ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.job import Job
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.transcript import TURN_SEPARATOR

PLAIN = '"logprobs": null, "finish_reason": null}'
"""The end of most choices of chunks."""


@dataclass(slots=True)
class _Message:
    """The message of one choice, as far as it has come."""

    reasoning: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    kept: tuple[int, int] = (0, 0)
    """Lengths of `content` and `logprobs` at the end of the last turn."""
    drops_separator: bool = False
    """Whether the next text loses its separator, because the text before it was dropped."""

    def end_turn(self, *, dropped: bool) -> None:
        """Go on to the next turn. A turn that is decoded again is dropped, since the transcript does not have it either."""
        if dropped:
            content, logprobs = self.kept
            self.drops_separator |= len(self.content) > content == 0
            del self.content[content:], self.logprobs[logprobs:]
        self.kept = len(self.content), len(self.logprobs)

    def add(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ContentDelta(text):
                self.content.append(text.removeprefix(TURN_SEPARATOR) if self.drops_separator else text)
                self.drops_separator = False
            case ToolCallStart(_, name, call_id):
                self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}})
            case ToolCallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
            case ToolCallEnd():
                pass


class CompletionBuilder(ResponseBuilder):
    """Collects a job's outputs into one `chat.completion` object."""

    def __init__(self, job: Job, tokenizer: Tokenizer, options: AnswerOptions) -> None:
        self._job = job
        self._tokenizer = tokenizer
        self._options = options
        self._messages = [_Message() for _ in job.choices]

    def add(self, choice: Choice, output: Output) -> None:
        message = self._messages[choice.index]
        match output:
            case StreamEvent("turn", data):
                message.end_turn(dropped=data["escalated"] is not None)
            case TurnOutput():
                for event in output.events:
                    message.add(event)
                message.logprobs += logprob_entries(output.logprobs, self._tokenizer)
            case _:
                pass

    def build(self) -> dict[str, Any]:
        completion = ChatCompletion.model_validate(
            {
                **self._options.head(self._job, "chat.completion"),
                "choices": [self._choice(choice) for choice in self._job.choices],
                "usage": usage(self._job),
                **({"prompt_token_ids": prompt_token_ids(self._job)} if self._options.token_ids else {}),
                "autotool": self._options.record(self._job),
            }
        )
        return completion.model_dump(mode="json", exclude_unset=True)

    def _choice(self, choice: Choice) -> dict[str, Any]:
        collected, options = self._messages[choice.index], self._options
        logprobs = logprobs_of(collected.logprobs) if options.logprobs else None
        finish_reason = options.finish_reason(choice.finish_reason)
        answer: dict[str, Any] = {"index": choice.index, "message": self._message(collected), "logprobs": logprobs}
        answer |= {"finish_reason": finish_reason, **stop_reason(choice)}
        return answer | ({"token_ids": choice.turns[-1].token_ids()} if options.token_ids else {})

    def _message(self, collected: _Message) -> dict[str, Any]:
        content = "".join(collected.content) or (None if collected.calls else "")
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        if reasoning := "".join(collected.reasoning):
            message |= dict.fromkeys(self._options.reasoning_names, reasoning)
        if collected.calls and self._options.function_call:
            message["function_call"] = collected.calls[0]["function"]
        elif collected.calls:
            message["tool_calls"] = collected.calls
        return message


class ChunkWriter(StreamWriter):
    """Writes a job's outputs as server-sent `chat.completion.chunk` events.

    Chunks are put together from JSON text, since validating one of OpenAI's types for every token would cost more than
    everything else that the server does for it; the tests read every kind of chunk back as that type.
    """

    def __init__(self, job: Job, tokenizer: Tokenizer, options: AnswerOptions) -> None:
        self._job = job
        self._tokenizer = tokenizer
        self._options = options
        self._started = set[int]()
        self._reasoning_keys = [f'"{name}": ' for name in options.reasoning_names]
        self._shown_ids = [0] * len(job.choices)
        self._shown_decisions = [0] * len(job.choices)
        self._running = len(job.choices)
        self._head = f"data: {json.dumps(options.head(job, 'chat.completion.chunk'))[:-1]}, "
        self._tail = ', "usage": null}\n\n' if options.include_usage else "}\n\n"
        self._plain_tail = f"{PLAIN}]{self._tail}"

    def write(self, choice: Choice, output: Output) -> str:
        start = "" if choice.index in self._started else self._start(choice.index)
        match output:
            case TurnOutput():
                return start + self._decision(choice) + self._turn_output(choice, output)
            case StreamEvent("tool_called"):
                return start
            case StreamEvent():
                return start + self._stream_event(output)
            case ChoiceEnd():
                return start + self._choice_end(choice, output.finish_reason)

    def end(self) -> str:
        done = "data: [DONE]\n\n"
        if not self._options.include_usage:
            return done
        return f'{self._head}"choices": [], "usage": {self._usage()}}}\n\n{done}'

    def _usage(self) -> str:
        return json.dumps(usage(self._job).model_dump(exclude_none=True))

    def _start(self, index: int) -> str:
        """Return a choice's first chunk; the stream's first one has the ids of the prompt."""
        ids = self._options.token_ids and not self._started
        extra = {"prompt_token_ids": prompt_token_ids(self._job)} if ids else None
        self._started.add(index)
        return self._chunk(index, '{"role": "assistant", "content": "", "refusal": null}', extra=extra)

    def _decision(self, choice: Choice) -> str:
        """Return the event of the newest decision, once, to clients that want it."""
        turn, number = choice.turns[-1], len(choice.turns)
        if not self._options.include_decision or turn.p_long is None or self._shown_decisions[choice.index] == number:
            return ""
        self._shown_decisions[choice.index] = number
        decided = turn.record().model_dump(mode="json", include={"resolved", "p_long", "reasoning_bias"})
        return self._stream_event(StreamEvent("decision", {"choice": choice.index, "turn": number - 1, **decided}))

    def _turn_output(self, choice: Choice, output: TurnOutput) -> str:
        """Return the chunks of an output; what its tokens have besides text goes with the first, or alone if there is none."""
        besides: dict[str, Any] = {}
        if output.logprobs:
            besides["logprobs"] = logprobs_of(logprob_entries(output.logprobs, self._tokenizer))
        if self._options.token_ids:
            besides |= self._new_ids(choice)
        chunks: list[str] = []
        for event in output.events:
            if delta := self._delta(event):
                chunks.append(self._chunk(choice.index, delta, besides=besides))
                besides = {}
        if besides:
            chunks.append(self._chunk(choice.index, '{"content": ""}', besides=besides))
        return "".join(chunks)

    def _new_ids(self, choice: Choice) -> dict[str, Any]:
        ids = choice.turns[-1].token_ids(self._shown_ids[choice.index])
        self._shown_ids[choice.index] += len(ids)
        return {"token_ids": ids} if ids else {}

    def _stream_event(self, event: StreamEvent) -> str:
        """Return a chunk without choices, which clients ignore that do not know its `autotool` event."""
        data = json.dumps({"event": event.event, **event.data})
        return f'{self._head}"choices": [], "autotool": {data}{self._ending()}'

    def _choice_end(self, choice: Choice, finish_reason: str) -> str:
        """Return the chunk with a choice's finish reason; the job's last one carries the decision record."""
        self._running -= 1
        extra = {"autotool": self._options.record(self._job)} if self._running == 0 else None
        besides = stop_reason(choice) | (self._new_ids(choice) if self._options.token_ids else {})
        return self._chunk(choice.index, "{}", finish=self._options.finish_reason(finish_reason), besides=besides, extra=extra)

    def _delta(self, event: Event) -> str:
        """Return the JSON of an event's delta; empty if it has none. There is one for every token."""
        match event:
            case ContentDelta(text):
                return f'{{"content": {encode_basestring_ascii(text)}}}'
            case ReasoningDelta(text):
                written = encode_basestring_ascii(text)
                return "{" + ", ".join([key + written for key in self._reasoning_keys]) + "}"
            case ToolCallStart(index, name, call_id):
                function = {"name": name, "arguments": ""}
                return self._call_delta(function, {"index": index, "id": call_id, "type": "function"})
            case ToolCallArguments(index, text):
                return self._call_delta({"arguments": text}, {"index": index})
            case ToolCallEnd():
                return ""

    def _call_delta(self, function: dict[str, str], call: dict[str, Any]) -> str:
        is_old = self._options.function_call
        return json.dumps({"function_call": function} if is_old else {"tool_calls": [{**call, "function": function}]})

    def _chunk(
        self,
        choice: int,
        delta: str,
        *,
        finish: str | None = None,
        besides: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> str:
        """Return a chunk. `delta`: its JSON; `besides`: further fields of the choice; `extra`: of the chunk."""
        start = f'{self._head}"choices": [{{"index": {choice}, "delta": {delta}, '
        is_plain = finish is None and not besides
        if is_plain and not extra and not self._options.continuous_usage:  # nearly every chunk
            return start + self._plain_tail
        rest = PLAIN if is_plain else json.dumps({"logprobs": None, "finish_reason": finish, **(besides or {})})[1:]
        tail = f", {json.dumps(extra)[1:-1]}{self._ending()}" if extra else self._ending()
        return f"{start}{rest}]{tail}"

    def _ending(self) -> str:
        return f', "usage": {self._usage()}}}\n\n' if self._options.continuous_usage else self._tail
