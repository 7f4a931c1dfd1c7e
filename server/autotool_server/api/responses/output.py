"""The output items of a response, each with the events that tell of it.

Order of events: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from autotool_server.api.responses.request import SERVER_LABEL

Status = Literal["completed", "incomplete"]
SUCCESSES = ("ok", "repeated")
"""Outcomes of calls whose result is an output, not an error."""


class Emit(Protocol):
    """Takes the events in their order."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Take an event of a kind such as `response.created`."""


class Item(ABC):
    """An item that is being written. `value` is the item as JSON values, complete when it is closed."""

    def __init__(self, value: dict[str, Any], index: int, emit: Emit) -> None:
        self.value = value
        self.is_open = True
        self._index = index
        self._emit = emit
        emit("response.output_item.added", output_index=index, item=value)

    def close(self, status: Status) -> None:
        """End the item, once."""
        if self.is_open:
            self.is_open = False
            self.value["status"] = status
            self._finish()
            self._emit("response.output_item.done", output_index=self._index, item=self.value)

    @abstractmethod
    def _finish(self) -> None:
        """Complete the value, and tell of its parts."""

    def _event(self, kind: str, **fields: Any) -> None:
        self._emit(f"response.{kind}", item_id=self.value["id"], output_index=self._index, **fields)


class MessageItem(Item):
    """The text of a turn."""

    def __init__(self, value: dict[str, Any], index: int, emit: Emit) -> None:
        super().__init__({**value, "type": "message", "role": "assistant", "status": "in_progress", "content": []}, index, emit)
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._event("content_part.added", content_index=0, part=_text_part("", []))

    def write(self, text: str, logprobs: Sequence[dict[str, Any]]) -> None:
        """Append a text, with the log-probabilities of the tokens since the last one."""
        self._texts.append(text)
        self._logprobs += logprobs
        self._event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _finish(self) -> None:
        text = "".join(self._texts)
        part = _text_part(text, self._logprobs)
        self.value["content"] = [part]
        self._event("output_text.done", content_index=0, text=text, logprobs=self._logprobs)
        self._event("content_part.done", content_index=0, part=part)


class ReasoningItem(Item):
    """The reasoning of a turn. `seal`, if given, makes the sealed text; a summary is the same text again."""

    def __init__(
        self,
        value: dict[str, Any],
        index: int,
        emit: Emit,
        *,
        has_summary: bool,
        seal: Callable[[str], str] | None,
    ) -> None:
        super().__init__({**value, "type": "reasoning", "status": "in_progress", "summary": [], "content": []}, index, emit)
        self._texts: list[str] = []
        self._has_summary = has_summary
        self._seal = seal
        if has_summary:
            self._event("reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""})
        self._event("content_part.added", content_index=0, part={"type": "reasoning_text", "text": ""})

    def write(self, text: str) -> None:
        """Append a text."""
        self._texts.append(text)
        if self._has_summary:
            self._event("reasoning_summary_text.delta", summary_index=0, delta=text)
        self._event("reasoning_text.delta", content_index=0, delta=text)

    def _finish(self) -> None:
        text = "".join(self._texts)
        if self._has_summary:
            summary = {"type": "summary_text", "text": text}
            self.value["summary"] = [summary]
            self._event("reasoning_summary_text.done", summary_index=0, text=text)
            self._event("reasoning_summary_part.done", summary_index=0, part=summary)
        part = {"type": "reasoning_text", "text": text}
        self.value["content"] = [part]
        self._event("reasoning_text.done", content_index=0, text=text)
        self._event("content_part.done", content_index=0, part=part)
        if self._seal is not None:
            self.value["encrypted_content"] = self._seal(text)


class FunctionCall(Item):
    """A call of a tool that the client executes."""

    def __init__(self, value: dict[str, Any], index: int, emit: Emit, *, name: str, call_id: str) -> None:
        call = {"type": "function_call", "status": "in_progress", "call_id": call_id, "name": name, "arguments": ""}
        super().__init__({**value, **call}, index, emit)
        self._texts: list[str] = []

    def write(self, text: str) -> None:
        """Append to the arguments."""
        self._texts.append(text)
        self._event("function_call_arguments.delta", delta=text)

    def _finish(self) -> None:
        arguments = self.value["arguments"] = "".join(self._texts)
        self._event("function_call_arguments.done", arguments=arguments, name=self.value["name"])


class ServerCall(Item):
    """A call of a server tool, in the form of a call of an MCP server's tool."""

    def __init__(
        self, value: dict[str, Any], index: int, emit: Emit, *, name: str, approval_request_id: str | None = None
    ) -> None:
        call = {"type": "mcp_call", "status": "in_progress", "server_label": SERVER_LABEL, "name": name, "arguments": ""}
        approval = {} if approval_request_id is None else {"approval_request_id": approval_request_id}
        super().__init__({**value, **call, "output": None, "error": None, **approval}, index, emit)
        self._has_arguments = False
        self._event("mcp_call.in_progress")

    def start(self, arguments: str) -> None:
        """Take the arguments, which are complete."""
        if not self._has_arguments:
            self._has_arguments = True
            self.value["arguments"] = arguments
            self._event("mcp_call_arguments.delta", delta=arguments)
            self._event("mcp_call_arguments.done", arguments=arguments)

    def end(self, result: Mapping[str, Any]) -> None:
        """Take the result, as the data of the event `tool_result`."""
        self.start(result["arguments"])
        if result["outcome"] in SUCCESSES:
            self.value["output"] = result["content"]
        else:
            self.value["error"] = {"type": "mcp_tool_execution_error", "content": result["content"]}
        self.close("completed")

    def _finish(self) -> None:
        is_success = self.value["output"] is not None
        self.value["status"] = "completed" if is_success else "failed"
        self._event("mcp_call.completed" if is_success else "mcp_call.failed")


class ApprovalRequest(Item):
    """A call of a server tool that waits for the user's approval. It is complete at once."""

    def __init__(self, value: dict[str, Any], index: int, emit: Emit, *, name: str, arguments: str) -> None:
        call = {"type": "mcp_approval_request", "server_label": SERVER_LABEL, "name": name, "arguments": arguments}
        super().__init__({**value, **call}, index, emit)
        self.close("completed")

    def _finish(self) -> None:
        # This kind of item has no status.
        del self.value["status"]


def _text_part(text: str, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}
