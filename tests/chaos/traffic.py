"""Requests of every kind and protocol, and what became of each."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Manner = Literal["patient", "slow", "leaves"]
"""How a client takes its answer: as fast as it comes, slowly, or only its beginning."""

PROMPTS = 12
"""Different prompts of the requests whose answers are known beforehand."""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
ENDS = {CHAT: ("[DONE]",), MESSAGES: ("message_stop",), RESPONSES: ("response.completed", "response.incomplete")}
"""What the last event of a whole stream has in it."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    kind: str
    path: str
    body: Json
    manner: Manner = "patient"
    status: int = 200
    """The right status."""
    same_as: str | None = None
    """The name of the answer, which is the same whenever it is asked; None if it is checked by itself."""
    check: Callable[[str], bool] = field(default=lambda _: True)
    """Whether the text of an answer is right."""

    @property
    def is_stream(self) -> bool:
        return bool(self.body.get("stream"))


def asks(seed: int, model: str, *, tool: str | None, weights: Mapping[str, float] | None = None) -> Callable[[], Ask]:
    """Return what makes requests at random. `tool`: the name of a server tool that echoes its arguments."""
    dice = random.Random(seed)
    makers: dict[str, Callable[[random.Random, str], Ask]] = {
        "known": _known,
        "leaver": _leaver,
        "slow": _slow,
        "const": _const,
    }
    makers |= {"bad": _bad, "hostile": _hostile}
    if tool is not None:
        makers["tool"] = lambda dice, model: _tool(dice, model, tool)
    shares = {"known": 56, "leaver": 12, "slow": 6, "const": 8, "bad": 6, "hostile": 2, "tool": 10, **(weights or {})}
    names = [*makers]
    return lambda: makers[dice.choices(names, [shares[name] for name in names])[0]](dice, model)


def known_answers(model: str) -> list[Ask]:
    """Return one request for each answer that is to be known beforehand."""
    return [_of(path, model, mode, number) for path in ENDS for mode in MODES for number in range(PROMPTS)]


MODES = ("auto", "long", "short")


def _known(dice: random.Random, model: str) -> Ask:
    path, mode = dice.choice([*ENDS]), dice.choice(MODES)
    return _of(path, model, mode, dice.randrange(PROMPTS), stream=dice.random() < 0.6)


def _of(path: str, model: str, mode: str, number: int, *, stream: bool = False, manner: Manner = "patient") -> Ask:
    prompt = f"What is the weight of box {number} and of box {number * 7 % 10}?"
    body: Json = {"model": model, "mode": mode, "temperature": 0, "stream": stream}
    if path == RESPONSES:
        body |= {"input": prompt, "max_output_tokens": 40, "store": number % 2 == 0}
    else:
        body |= {"messages": [{"role": "user", "content": prompt}], "max_tokens": 40}
    # One name for every manner: a stream has the same answer as a whole one.
    return Ask(f"{path} {'stream' if stream else 'whole'}", path, body, manner, same_as=f"{path} {mode} {number}")


def _leaver(dice: random.Random, model: str) -> Ask:
    return _of(dice.choice([*ENDS]), model, "long", dice.randrange(PROMPTS), stream=dice.random() < 0.7, manner="leaves")


def _slow(dice: random.Random, model: str) -> Ask:
    return _of(dice.choice([*ENDS]), model, dice.choice(MODES), dice.randrange(PROMPTS), stream=True, manner="slow")


def _const(dice: random.Random, model: str) -> Ask:
    """A request whose grammar allows one answer, which nobody else's has."""
    wanted = f"answer-{dice.randrange(400)}"
    schema = {"type": "object", "properties": {"id": {"const": wanted}}, "required": ["id"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "only", "schema": schema, "strict": True}}
    messages = [{"role": "user", "content": "Answer."}]
    body = {"model": model, "mode": "short", "messages": messages, "response_format": form, "max_tokens": 64}
    return Ask("const", CHAT, body, check=lambda text: json.loads(text) == {"id": wanted})


def _tool(dice: random.Random, model: str, tool: str) -> Ask:
    number = dice.randrange(1000)
    body = {
        "model": model,
        "mode": "short",
        "messages": [{"role": "user", "content": f"Echo {number}."}],
        "tools": [{"type": "server", "name": tool}],
        "tool_choice": {"type": "function", "function": {"name": tool}},
        "tool_budget": {"max_turns": 1},
        "parallel_tool_calls": False,
        "max_tokens": 100,
    }
    return Ask("tool loop", CHAT, body)


def _bad(dice: random.Random, model: str) -> Ask:
    changes: Json = dice.choice(
        [{"temperature": -1}, {"messages": []}, {"mode": "slow"}, {"max_tokens": 0}, {"tools": [{"type": "nothing"}]}]
    )
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **changes}
    return Ask("bad request", CHAT, body, status=400)


def _hostile(dice: random.Random, model: str) -> Ask:
    """A schema that would take long to check or to compile."""
    schema: Json = dice.choice([{"$ref": "#"}, {"type": "string", "pattern": "^(a{999}){999}$"}, _towers(40)])
    form = {"type": "json_schema", "json_schema": {"name": "hostile", "schema": schema, "strict": True}}
    messages = [{"role": "user", "content": "Hello"}]
    return Ask("hostile schema", CHAT, {"model": model, "messages": messages, "response_format": form}, status=400)


def _towers(height: int) -> Json:
    doubled = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(height)}
    return {"$ref": "#/$defs/d0", "$defs": {**doubled, f"d{height}": {"type": "string"}}}


def text_of(path: str, answer: Json) -> str:
    """Return the text of a whole answer: its reasoning, a line, its content."""
    if path == CHAT:
        message = answer["choices"][0]["message"]
        return f"{message.get('reasoning') or ''}\n{message['content'] or ''}"
    if path == MESSAGES:
        parts = {block["type"]: block for block in answer["content"]}
        return f"{parts.get('thinking', {}).get('thinking', '')}\n{parts.get('text', {}).get('text', '')}"
    parts = {item["type"]: item for item in answer["output"]}
    texts = [part["text"] for name in ("reasoning", "message") for part in parts.get(name, {}).get("content") or []]
    return "\n".join(texts if "reasoning" in parts else ["", *texts])


def text_of_stream(path: str, events: list[Json]) -> str:
    """Return the text of the events of a stream."""
    reasoning, content = "", ""
    for event in events:
        if path == CHAT:
            for choice in event.get("choices", []):
                reasoning += choice["delta"].get("reasoning") or ""
                content += choice["delta"].get("content") or ""
        elif path == MESSAGES:
            reasoning += event.get("delta", {}).get("thinking", "")
            content += event.get("delta", {}).get("text", "")
        elif event["type"] == "response.reasoning_text.delta":
            reasoning += event["delta"]
        elif event["type"] == "response.output_text.delta":
            content += event["delta"]
    return f"{reasoning}\n{content}"
