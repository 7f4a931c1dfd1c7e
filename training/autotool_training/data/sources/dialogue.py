"""A conversation that is built message by message, and gives a record for every answer of the assistant."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotool_core.function_schemas import plain_name
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.rows import MalformedError, json_list
from autotool_training.data.sources.tools import Tool


def gold_call(raw: Mapping[str, Any]) -> GoldCall:
    """Parse a call of a data set, with `arguments` or `parameters` as an object or as text. Raises ValueError."""
    raw_arguments = raw["arguments"] if "arguments" in raw else raw["parameters"]
    arguments = json.loads(raw_arguments) if isinstance(raw_arguments, str) else raw_arguments
    if not isinstance(arguments, Mapping):
        raise MalformedError("call whose arguments are no JSON object")
    return GoldCall(name=plain_name(raw["name"]), arguments=dict(arguments))


class Dialogue:
    """Builds one conversation. `id` is unique in its source. With `is_numbered`, record ids end with the answer's number."""

    def __init__(self, source: str, licence: str, id: str, tools: Sequence[Tool], *, is_numbered: bool = False) -> None:  # noqa: A002 the same name as the record's field
        self._source, self._licence = source, licence
        self._id = f"{source}/{id}"
        self._is_numbered = is_numbered
        self._tools = list(tools)
        self._messages: list[dict[str, Any]] = []
        self._answers = 0
        self._calls = 0
        self._pending_calls: list[str] = []

    def add_message(self, role: str, text: str) -> None:
        """Add a message of the user or the system. Consecutive ones of a role are joined, because many templates reject them.

        Raises ValueError if a call has no result yet.
        """
        self._expect_results()
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == role:
            self._messages[-1] = {"role": role, "content": f"{last['content']}\n{text}"}
        else:
            self._messages.append({"role": role, "content": text})

    def add_answer(self, *, content: str | None = None, calls: Iterable[GoldCall] = (), reasoning: str | None = None) -> Record:
        """Add an answer to the conversation, and return its record. Raises ValueError if a call has no result yet."""
        self._expect_results()
        calls = list(calls)
        record = Record(
            id=f"{self._id}/{self._answers}" if self._is_numbered else self._id,
            tools=self._tools,
            messages=self._messages,
            calls=calls,
            content=content or None,
            reasoning=reasoning or None,
            source=self._source,
            licence=self._licence,
        )
        self._answers += 1
        self._append(content, calls)
        return record

    def add_greeting(self, content: str) -> None:
        """Add an answer that comes before the first request, of which there is no record."""
        self._append(content, ())

    def add_result(self, text: str) -> None:
        """Add the results of the last answer's calls: the text for one call, or a JSON list with an entry for each call."""
        entries = [text] if len(self._pending_calls) == 1 else [json.dumps(one, ensure_ascii=False) for one in _entries(text)]
        self.add_results(entries)

    def add_results(self, texts: Sequence[str]) -> None:
        """Add the results of the last answer's calls, one text per call. Raises ValueError if the numbers differ."""
        if len(texts) != len(self._pending_calls):
            raise MalformedError("results that match no calls")
        for call, text in zip(self._pending_calls, texts, strict=True):
            self._messages.append({"role": "tool", "tool_call_id": call, "content": text})
        self._pending_calls = []

    def _expect_results(self) -> None:
        if self._pending_calls:
            raise MalformedError("calls without results")

    def _append(self, content: str | None, calls: Sequence[GoldCall]) -> None:
        # The content is text and not None, as in the server's input to chat templates.
        message: dict[str, Any] = {"role": "assistant", "content": content or ""}
        if calls:
            message["tool_calls"] = [self._tool_call(call) for call in calls]
            self._pending_calls = [call["id"] for call in message["tool_calls"]]
        self._messages.append(message)

    def _tool_call(self, call: GoldCall) -> dict[str, Any]:
        self._calls += 1
        function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
        return {"id": f"call_{self._calls}", "type": "function", "function": function}


def _entries(text: str) -> Sequence[Any]:
    try:
        return json_list(text)
    except ValueError:
        raise MalformedError("results that match no calls") from None
