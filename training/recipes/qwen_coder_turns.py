"""Makes records of the turn after a call: the tool has answered, in one of the forms that tools give, and the model tells it.

    autotool serve --model qwen2.5-coder-0.5b-base --engine vllm &
    python training/recipes/qwen_coder_turns.py coder/api-one.jsonl data/train/seal_tools_apis.jsonl \
        http://localhost:8000/v1 coder/turns.jsonl 400

The values of a result are drawn by the tool's description. The server's model is given the request and the result in one
message and tells it greedily, so that it goes on to talk as it did; an answer is kept if it has every value, or says of an
error that there is one. The label is short.
"""

import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openai import OpenAI

from autotool_training.common import records
from autotool_training.common.records import Record
from autotool_training.data.sources.tools import parameters, tools
from autotool_training.data.synthetic.values import draw_value

MAX_TOKENS = 96
CONCURRENCY = 32
ERROR_SHARE = 0.15
ERRORS = (
    '{"error": "The service is not available. Try again later."}',
    '{"error": {"code": 404, "message": "Not found"}}',
    "Error: the request timed out after 30 seconds.",
    "HTTP 500 Internal Server Error",
)
SAYS_ERROR = re.compile(
    r"error|unable|not (be )?(able|available|found)|(can|could)( ?not|n?.t\b)|fail|unavailable|timed out", re.I
)

Ask = Callable[[Record], str]
Turn = tuple[Record, Sequence[str]]
"""A record without its answer, and the texts that the answer must have; none for an error."""


def main(requests: str, descriptions: str, url: str, out: str, number: str) -> None:
    """Write records made of this many requests with one call."""
    turns = list(make_turns([*records.read(Path(requests))], _responses(Path(descriptions)), int(number)))
    told = server(url)
    kept = answered(turns, lambda record: told(_question(record)))
    sys.stdout.write(f"{records.write(Path(out), kept)} of {len(turns)} answers tell the result.\n")


def make_turns(requests: Sequence[Record], responses: Mapping[str, Mapping[str, Any]], number: int) -> Iterator[Turn]:
    """Yield the turns after the calls of evenly spread requests whose tool's result has values that can be drawn."""
    rng = random.Random(0)  # noqa: S311 not a secret
    able = [record for record in requests if len(record.calls) == 1 and responses.get(record.calls[0].name)]
    for record in able[:: max(1, len(able) // number)][:number]:
        values = {name: draw_value(name, schema, rng) for name, schema in responses[record.calls[0].name].items()}
        if None not in values.values():
            is_error = rng.random() < ERROR_SHARE
            result = rng.choice(ERRORS) if is_error else _written(values, rng)
            yield _after(record, result), () if is_error else [*map(str, values.values())]


def answered(turns: Sequence[Turn], ask: Ask) -> list[Record]:
    """Return the turns with the model's answers, without those that do not tell the result."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        said = pool.map(ask, (record for record, _ in turns))
        pairs = zip(turns, said, strict=True)
        return [turn.model_copy(update={"content": text}) for (turn, values), text in pairs if tells(text, values)]


def tells(text: str, values: Sequence[str]) -> bool:
    """Return whether an answer has all values, or, where there are none, says that there was an error."""
    if not values:
        return SAYS_ERROR.search(text) is not None
    plain = text.replace(",", "")
    words = (re.escape(value.replace(",", "")) for value in values)
    return all(re.search(rf"(?<!\w){word}(?!\w)", plain, re.I) for word in words)


def _responses(descriptions: Path) -> dict[str, Mapping[str, Any]]:
    """Return the schemas of the values in each tool's result, without truth values, which an answer words freely."""
    rows = [json.loads(line) for line in descriptions.read_text(encoding="utf-8").splitlines()]
    return {row["api_name"]: schemas for row in rows if (schemas := _schemas(row["responses"]))}


def _schemas(responses: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values as JSON Schema, as a tool's parameters are read."""
    (tool,) = tools([{"name": "result", "description": "", "parameters": {"properties": responses, "required": []}}])
    schemas = parameters(tool)["properties"]
    return {} if any(schema.get("type") == "boolean" for schema in schemas.values()) else schemas


def _written(values: Mapping[str, Any], rng: random.Random) -> str:
    """Return a result as compact or spaced JSON, or as text."""
    forms: Sequence[Callable[[], str]] = (
        lambda: json.dumps(values, ensure_ascii=False, separators=(",", ":")),
        lambda: json.dumps(values, ensure_ascii=False),
        lambda: json.dumps(values, ensure_ascii=False, indent=2),
        lambda: "\n".join(f"{name}: {value}" for name, value in values.items()),
    )
    return rng.choice(forms)()


def _after(record: Record, result: str) -> Record:
    (call,) = record.calls
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    asked = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    told = {"role": "tool", "tool_call_id": "call_1", "content": result}
    messages = [*record.messages, asked, told]
    return record.model_copy(update={"id": f"{record.id}/told", "messages": messages, "calls": [], "label": "short"})


def _question(record: Record) -> Record:
    """Return a record that asks for the result in one message: after a call of its own, the base repeats JSON."""
    asked, result = record.messages[-3]["content"], record.messages[-1]["content"]
    text = f"{asked}\n\nHere is the result:\n{result}\n\nTell me the result in one or two plain sentences."
    return record.model_copy(update={"messages": [{"role": "user", "content": text}]})


def server(url: str, max_tokens: int = MAX_TOKENS) -> Ask:
    """Return what asks a server for the answer to a record, greedily, without its tools; empty for one that does not end."""
    client = OpenAI(base_url=url, api_key="none")
    model = client.models.list().data[0].id

    def ask(record: Record) -> str:
        messages: Any = record.messages
        request = {"model": model, "messages": messages, "temperature": 0, "max_completion_tokens": max_tokens}
        choice = client.chat.completions.create(**request, extra_body={"mode": "short"}).choices[0]
        return (choice.message.content or "").strip() if choice.finish_reason == "stop" else ""

    return ask


if __name__ == "__main__":
    main(*sys.argv[1:])
