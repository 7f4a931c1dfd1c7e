"""What the model reads of a question: the whole input in one message, the question after it, and a letter for each answer.

The input comes first and is the same for all questions, so that the engine computes it once. A conversation is shown as
JSON: the model is to judge it, and not to go on with it.
"""

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_server.api.decisions.schemas import (
    CallItem,
    Choice,
    Content,
    DecisionRequest,
    JsonPart,
    MessageItem,
    Predicate,
    ReasoningItem,
    RefusalPart,
    ResultItem,
    Score,
)

LETTERS = string.ascii_uppercase + string.ascii_lowercase
AnyQuestion = Predicate | Choice | Score
AnyItem = MessageItem | CallItem | ResultItem | ReasoningItem


def answers_of(question: AnyQuestion) -> Sequence[str]:
    """Return the texts of which the model is to answer one, each one token, in the order of the question's answers."""
    return (string.digits if isinstance(question, Score) else LETTERS)[: len(_named(question))]


def messages_of(body: DecisionRequest, question: AnyQuestion) -> Sequence[Mapping[str, Any]]:
    """Return the messages by which a question is asked."""
    text = f"Here is an input.\n\n<input>\n{_input(body)}\n</input>\n\n{_asked(question)}"
    return [{"role": "user", "content": text}]


def _input(body: DecisionRequest) -> str:
    """Return the input: a text as it is, items as one JSON object in each line. Nothing in it ends its frame."""
    text = body.input if isinstance(body.input, str) else "\n".join(_items(body.input))
    return text.replace("</input>", "<\\/input>")


def _items(items: Sequence[AnyItem]) -> Iterator[str]:
    names = {item.call_id: item.name for item in items if isinstance(item, CallItem)}
    for item in items:
        if isinstance(item, MessageItem):
            yield _line(role=item.role, content=_text(item.content))
        elif isinstance(item, CallItem):
            yield _line(call=item.name, arguments=item.arguments or item.input)
        elif isinstance(item, ResultItem):
            yield _line(result_of=names.get(item.call_id, "a tool"), content=_text(item.output))


def _line(**fields: str) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, JsonPart):
        return json.dumps(part.data, ensure_ascii=False)
    return part.refusal if isinstance(part, RefusalPart) else part.text


def _asked(question: AnyQuestion) -> str:
    """Return the question with its answers and the form that an answer is to have."""
    text = _text(question.instructions)
    if isinstance(question, Predicate):
        text = f"Is this true of the input? {text}"
    kind = "number of the level that the input reaches" if isinstance(question, Score) else "letter of the right answer"
    pairs = zip(answers_of(question), _named(question), strict=True)
    return "\n".join((text, *(f"{answer}. {name}" for answer, name in pairs), f"Answer with the {kind}, and nothing else."))


def _named(question: AnyQuestion) -> Sequence[str]:
    """Return what each answer of a question means."""
    if isinstance(question, Predicate):
        return ("Yes", "No")
    if isinstance(question, Choice):
        return [_described(_value(option.value), option.description) for option in question.choices]
    return [_described(level.label, level.description) for level in question.levels]


def _described(name: str, description: str | None) -> str:
    return f"{name}: {description}" if description else name


def _value(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()
