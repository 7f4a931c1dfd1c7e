"""A conversation of a data set, which grows message by message: every answer of the assistant makes a record."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotool_core.functions import plain_name
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.sources.rows import MalformedError, json_list
from autotool_training.data.sources.tools import Tool


def gold_call(raw: Mapping[str, Any]) -> GoldCall:
    """A call as data sets write it: `arguments` or `parameters`, as an object or as text. Raises ValueError."""
    raw_arguments = raw["arguments"] if "arguments" in raw else raw["parameters"]
    arguments = json.loads(raw_arguments) if isinstance(raw_arguments, str) else raw_arguments
    if not isinstance(arguments, Mapping):
        raise MalformedError("call whose arguments are no JSON object")
    return GoldCall(name=plain_name(raw["name"]), arguments=dict(arguments))


class Dialogue:
    """One conversation. `id` is unique in its source; `several`: whether its records need a number of their own."""

    def __init__(self, source: str, licence: str, id: str, tools: Sequence[Tool], *, is_numbered: bool = False) -> None:  # noqa: A002 the record's own word
        self._source, self._licence = source, licence
        self._id = f"{source}/{id}"
        self._is_numbered = is_numbered
        self._tools = list(tools)
        self._messages: list[dict[str, Any]] = []
        self._answers = 0
        self._calls = 0
        self._pending_calls: list[str] = []

    def add_message(self, role: str, text: str) -> None:
        """Add a message of the user or the system. Two of one role in a row become one: many templates refuse them.

        Raises ValueError where calls wait for results.
        """
        self._expect_results()
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == role:
            self._messages[-1] = {"role": role, "content": f"{last['content']}\n{text}"}
        else:
            self._messages.append({"role": role, "content": text})

    def add_answer(self, *, content: str | None = None, calls: Iterable[GoldCall] = (), reasoning: str | None = None) -> Record:
        """The record of an answer, which becomes part of the conversation. Raises ValueError where calls wait for results."""
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

    def add_result(self, text: str) -> None:
        """What the last answer's calls gave: of one call the text, of several a JSON list with an entry for each."""
        entries = [text] if len(self._pending_calls) == 1 else [json.dumps(one, ensure_ascii=False) for one in _entries(text)]
        self.add_results(entries)

    def add_results(self, texts: Sequence[str]) -> None:
        """What the last answer's calls gave, one text for each. Raises ValueError where their number is another."""
        if len(texts) != len(self._pending_calls):
            raise MalformedError("results that match no calls")
        for call, text in zip(self._pending_calls, texts, strict=True):
            self._messages.append({"role": "tool", "tool_call_id": call, "content": text})
        self._pending_calls = []

    def _expect_results(self) -> None:
        if self._pending_calls:
            raise MalformedError("calls without results")

    def _append(self, content: str | None, calls: Sequence[GoldCall]) -> None:
        # Text and not None, as the server gives it to chat templates.
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
