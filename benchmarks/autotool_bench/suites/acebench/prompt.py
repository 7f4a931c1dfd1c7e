"""The messages of an item, after `prompt_en.py` of ACEBench, adapted to native tool calling.

The published prompt lists the functions in its text, gives the dialogue as one user message, and wants `[f(key='value')]`
in reply. Here the functions are tools, the dialogue is messages, and calls are tool calls, so that the checkpoint's own
template renders them; the sentences on the form of a call are left out. The sentences on arguments, the time, the user's
profile, and the exact answers to a faulty request are kept. Two fields of the data do not reach the model: the results of a
function, and its tags.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotool_bench.suites.acebench.special import ERROR, INCOMPLETE, IRRELEVANT
from autotool_bench.suites.base import Message
from autotool_core.function_schemas import plain_name

CALL = """\
You are the assistant in this conversation. Make the tool calls that its next step needs, all in one turn, and no other text.
- Unless its description says otherwise, a parameter is optional: give it if {source} mentions it, leave it out if not.
- Unless its description asks for a format, take a parameter's value from {source} word for word.
- A tool without parameters takes no arguments; never invent a parameter."""

REFUSE = f"""\
You are the assistant in this conversation. There are two cases.
1. The request is clear, and the tools can meet it: make all the tool calls that it needs, in one turn, and no other text. \
Unless a parameter's description asks for a format, take its value from the user's text word for word.
2. The request is unclear, incomplete or wrong, or more than the tools can do: make no call, and say so in one of these \
sentences, the first that applies.
- What a call needs is there, but a value is not of the type or form that the tool defines:
{ERROR} (value) for the parameters (key) in the conversation history.
- Something that a call needs is missing; put the names of parameters and tool in the place of key1, key2 and ApiName:
{INCOMPLETE} (key1, key2, ...) for the api (ApiName)
- No tool can do what the user asks:
Due to {IRRELEVANT}, I cannot solve this problem."""

ROLE = re.compile(r"^(user|system|assistant|tool): ?", re.MULTILINE)
JSON_LITERALS = {"true": True, "false": False, "null": None}


def system(category: str, row: Mapping[str, Any]) -> str:
    """Return the system message of a row: instructions, then the time or the user's profile."""
    if category == "normal_preference":
        instructions = CALL.format(source="the user's text or profile")
        return f"{instructions}\n\nThe user's profile:\n{row['profile']}"
    instructions = REFUSE if category.startswith("special") else CALL.format(source="the user's text")
    return f"{instructions}\n\n{row.get('time', '')}".strip()


def dialogue(text: str) -> Sequence[Message]:
    """Return the messages of a dialogue whose turns begin with `user:` or `system:`, which is the assistant.

    An assistant's turn that is a list of calls becomes tool calls. The data seldom have the results of these calls; the tool
    message, which servers require after every call, is then empty. Raises ValueError if the text does not begin with a turn.
    """
    before, *turns = ROLE.split(text)
    if before.strip() or not turns:
        raise ValueError("its dialogue does not begin with a turn")
    messages: list[dict[str, Any]] = []
    for role, words in zip(turns[::2], turns[1::2], strict=True):
        if role == "user":
            messages.append({"role": "user", "content": words.strip()})
        elif role == "tool":
            messages[-1]["content"] = words.strip()
        else:
            messages.extend(_assistant(words.strip(), len(messages)))
    return messages


def _assistant(text: str, number: int) -> Iterator[dict[str, Any]]:
    calls = [
        {"id": f"call_{number}_{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(_calls(text))
    ]
    if not calls:
        yield {"role": "assistant", "content": text}
        return
    yield {"role": "assistant", "content": None, "tool_calls": calls}
    for call in calls:
        yield {"role": "tool", "tool_call_id": call["id"], "content": ""}


def _calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Parse the calls of `[f(key=value), ...]`; return no calls for any other text."""
    try:
        listed = ast.parse(text, mode="eval").body
        return [_call(node) for node in listed.elts] if isinstance(listed, ast.List) else []
    except (SyntaxError, ValueError):
        return []


def _call(node: ast.expr) -> tuple[str, dict[str, Any]]:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("this is not a call with named arguments")
    return plain_name(ast.unparse(node.func)), {
        str(keyword.arg): ast.literal_eval(_JsonLiterals().visit(keyword.value)) for keyword in node.keywords
    }


class _JsonLiterals(ast.NodeTransformer):
    """Replaces JSON's true, false and null by Python's, because the data mix both."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(JSON_LITERALS[node.id]) if node.id in JSON_LITERALS else node
