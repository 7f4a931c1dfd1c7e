"""The way out: from a job's outputs to Anthropic's message, one JSON object or the events of a stream."""

import json
from typing import Any

from autotool_server.api.messages.blocks import DELTA_KEYS, BlockDelta, BlockEvent, BlockReader, BlockStart
from autotool_server.api.messages.schemas import MessagesRequest
from autotool_server.api.protocol import ResponseBuilder, StreamWriter
from autotool_server.conversation.choice import Choice, ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.job import Job

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def usage(job: Job) -> dict[str, Any]:
    """Return the tokens of the whole request so far. The three counts of input tokens add up to the prompt."""
    used = job.usage()
    return {
        "input_tokens": used.prompt - used.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "cache_creation": None,
        "output_tokens": used.completion,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }


def message(job: Job, body: MessagesRequest, content: list[dict[str, Any]], end: ChoiceEnd | None) -> dict[str, Any]:
    """Return Anthropic's message object.

    It has the name by which the client calls the model, since Claude Code sends no thinking back to a model of another name.
    """
    head = {"id": job.id, "type": "message", "role": "assistant", "model": body.model}
    return {**head, "content": content, **stop_fields(job, body, end), "usage": usage(job)}


def stop_fields(job: Job, body: MessagesRequest, end: ChoiceEnd | None) -> dict[str, Any]:
    """Return why the answer ended, or that it has not."""
    reason = STOP_REASONS[end.finish_reason] if end is not None else None
    if reason == "end_turn" and end is not None and end.stop_string is not None:
        reason = "stop_sequence"
    elif reason == "max_tokens" and job.usage().completion < body.max_tokens:
        # The context had no room for as many.
        reason = "model_context_window_exceeded"
    stop_string = end.stop_string if end is not None and reason == "stop_sequence" else None
    return {"stop_reason": reason, "stop_sequence": stop_string, "stop_details": None, "container": None}


class _Block:
    """A content block, as far as it has come."""

    def __init__(self, empty: dict[str, Any]) -> None:
        self._block = empty
        self._texts: dict[str, list[str]] = {}

    def grow(self, delta: BlockDelta) -> None:
        self._texts.setdefault(delta.kind, []).append(delta.text)

    def whole(self) -> dict[str, Any]:
        texts = {kind: "".join(parts) for kind, parts in self._texts.items()}
        arguments = texts.pop("input_json", None)
        return {**self._block, **texts, **({"input": _object(arguments)} if arguments is not None else {})}


class MessageBuilder(ResponseBuilder):
    """Collects a job's outputs into one message."""

    def __init__(self, job: Job, body: MessagesRequest) -> None:
        self._job = job
        self._body = body
        self._reader = BlockReader(shows_thinking=body.shows_thinking)
        self._blocks: list[_Block] = []
        self._kept = 0
        """Number of blocks at the end of the last turn."""
        self._end: ChoiceEnd | None = None

    def add(self, choice: Choice, output: Output) -> None:
        for event in self._reader.read(output):
            self._fold(event)
        match output:
            case StreamEvent("turn", data):
                if data["escalated"] is not None:
                    # The turn is decoded again.
                    del self._blocks[self._kept :]
                self._kept = len(self._blocks)
            case ChoiceEnd():
                self._end = output
            case _:
                pass

    def build(self) -> dict[str, Any]:
        content = [block.whole() for block in self._blocks]
        return {
            **message(self._job, self._body, content, self._end),
            "autotool": _record(self._job, self._body),
        }

    def _fold(self, event: BlockEvent) -> None:
        match event:
            case BlockStart(empty):
                self._blocks.append(_Block(empty))
            case BlockDelta():
                self._blocks[-1].grow(event)
            case _:
                pass


class EventWriter(StreamWriter):
    """Writes a job's outputs as Anthropic's server-sent events.

    What happens between tokens is in pings, since clients pass over what they do not know there, and over no other event.
    """

    def __init__(self, job: Job, body: MessagesRequest) -> None:
        self._job = job
        self._body = body
        self._reader = BlockReader(shows_thinking=body.shows_thinking)
        self._started = False
        self._index = -1
        """Index of the last block."""

    def write(self, choice: Choice, output: Output) -> str:
        events = [] if self._started else self._start()
        self._started = True
        events += [self._block_event(event) for event in self._reader.read(output)]
        match output:
            case StreamEvent():
                events.append(sse("ping", autotool={"event": output.event, **output.data}))
            case ChoiceEnd():
                events.append(self._message_delta(output))
            case _:
                pass
        return "".join(events)

    def end(self) -> str:
        return sse("message_stop")

    def _start(self) -> list[str]:
        return [sse("message_start", message=message(self._job, self._body, [], None)), sse("ping")]

    def _block_event(self, event: BlockEvent) -> str:
        match event:
            case BlockStart(empty):
                self._index += 1
                return sse("content_block_start", index=self._index, content_block=empty)
            case BlockDelta(kind, text):
                delta = {"type": f"{kind}_delta", DELTA_KEYS[kind]: text}
                return sse("content_block_delta", index=self._index, delta=delta)
            case _:
                return sse("content_block_stop", index=self._index)

    def _message_delta(self, end: ChoiceEnd) -> str:
        """Return the event with the end of the message; it carries the decision record."""
        delta = stop_fields(self._job, self._body, end)
        return sse(
            "message_delta",
            delta=delta,
            usage=usage(self._job),
            autotool=_record(self._job, self._body),
        )


def _record(job: Job, body: MessagesRequest) -> dict[str, Any]:
    """Return the decision record, without reasoning where the client wants none."""
    return job.record(shows_reasoning=body.shows_thinking)


def sse(kind: str, **values: Any) -> str:
    """Return a server-sent event in Anthropic's form: its type is in the event and in its data."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n"


def _object(text: str) -> dict[str, Any]:
    """Return a call's arguments; an empty object for those that were cut or are no object."""
    try:
        value = json.loads(text)
        # What cannot be written as JSON could not be sent: infinite numbers, half a surrogate pair.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
