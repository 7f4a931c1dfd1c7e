"""Make gold answers and similar wrong answers from the official possible answers.

The official answers name the values that a checker accepts, not what a model writes: Java and JavaScript values are written as
source text, and calls of the multi-turn items are Python expressions.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from autotool_bench.suites.base import Reply, Tool, ToolCall

UNSOLVABLE = {
    "simple_java_36": "it wants a number in a list of type any, whose members the official converter reads as text",
    "simple_java_65": "it wants a truth value in a list of type any, whose members the official converter reads as text",
    "live_simple_106-63-0": "it allows no value at all for two required parameters",
    "live_simple_112-68-0": "it allows no value at all for a required parameter",
    "live_multiple_862-181-3": "its answer has a parameter that its function lacks",
    "live_multiple_964-207-0": "its answer leaves out a required parameter, and has one that its function lacks",
}
"""Items that no answer solves by the official checker. They count in figures, because the leaderboard counts them."""

_TEXT = Reply(content="None of the functions can help with this.")
_DONE = Reply(content="Done.")
_ANYTHING = "no_such_function"


def text_or_call(tools: Sequence[Tool], *, call: bool) -> list[Reply]:
    """Return a text or, if `call`, any call: for the items that are solved by no call, or by any."""
    if not call:
        return [_TEXT]
    name = tools[0]["function"]["name"] if tools else _ANYTHING
    return [Reply(calls=(ToolCall(name, "{}"),))]


def single_turn(
    answers: Sequence[Mapping[str, Any]], functions: Sequence[Mapping[str, Any]], language: str, *, corrupted: bool
) -> list[Reply]:
    """Return the calls of `answers` ([{function: {parameter: [allowed value, …]}}, …]); if corrupted, the first is wrong.

    `functions` are the documents of the data set, whose types are Java's or JavaScript's where `language` says so.
    """
    write = {"java": _java, "javascript": _javascript}.get(language, _as_is)
    parameters = {function["name"]: function["parameters"] for function in functions}
    calls: list[ToolCall] = []
    for answer in answers:
        ((name, allowed),) = answer.items()
        values = _chosen(allowed, parameters[name].get("required", ()))
        if corrupted and not calls:
            values = {key: _corrupted(value) for key, value in values.items()} or {"unasked": "unasked"}
        properties = parameters[name]["properties"]
        arguments = {key: write(value, properties.get(key, {})) for key, value in values.items()}
        calls.append(ToolCall(name.replace(".", "_"), json.dumps(arguments)))
    return [Reply(calls=tuple(calls))]


def multi_turn(answers: Sequence[Sequence[str]], tools: Sequence[Tool], *, corrupted: bool) -> list[Reply]:
    """Return two steps per turn: one with all its calls, which `answers` holds as Python text, and one that ends the turn.

    `tools` are all tools of the episode; they name positional arguments. If corrupted, the calls of the first turn with calls
    have an argument that their function does not take, so they fail.
    """
    names = {tool["function"]["name"]: list(tool["function"]["parameters"]["properties"]) for tool in tools}
    first = next((index for index, turn in enumerate(answers) if turn), None)
    steps: list[Reply] = []
    for index, turn in enumerate(answers):
        extra = {"unasked": True} if corrupted and index == first else {}
        calls = tuple(_parse_call(text, names, extra) for text in turn)
        steps += [Reply(calls=calls), _DONE] if calls else [_DONE]
    return steps


def _parse_call(text: str, names: Mapping[str, Sequence[str]], extra: Mapping[str, Any]) -> ToolCall:
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise TypeError(f"{text} is not a call of a function")
    arguments: dict[str, Any] = dict(zip(names[call.func.id], map(ast.literal_eval, call.args), strict=False))
    arguments |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return ToolCall(call.func.id, json.dumps({**arguments, **extra}))


def _chosen(allowed: Mapping[str, Sequence[Any]], required: Sequence[str]) -> dict[str, Any]:
    """Return the first value of each parameter, without the optional ones: those with an empty text among their values."""
    return {name: _filled(_first(values)) for name, values in allowed.items() if "" not in values or name in required}


def _first(values: Sequence[Any]) -> Any:
    return next((value for value in values if value != ""), "")


def _filled(value: Any) -> Any:
    """Choose values in a dictionary, or in the dictionaries of a list, whose keys have lists of allowed values."""
    if isinstance(value, dict):
        return {key: _first(values) for key, values in value.items() if "" not in values}
    return (
        [_filled(element) if isinstance(element, dict) else element for element in value] if isinstance(value, list) else value
    )


def _corrupted(value: Any) -> Any:
    """Return a value of the same type that none of the official answers allows."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value} or anything else"
    if isinstance(value, int | float):
        return value + 987654
    return [*value, "unasked"] if isinstance(value, list) else {"unasked": True}


def _as_is(value: Any, _: Mapping[str, Any]) -> Any:
    return value


def _java(value: Any, parameter: Mapping[str, Any]) -> str:
    """Return source text that the official converter `java_type_converter` converts to the value."""
    kind = parameter.get("type", "any")
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        inner = parameter.get("items", {})
        if kind == "ArrayList":
            return (
                f"new ArrayList<>(Arrays.asList({', '.join(_quoted(_java(element, inner), element) for element in value)}))"
                if value
                else "new ArrayList<>()"
            )
        return f"new Object[]{{{', '.join(_java(element, inner) for element in value)}}}"
    if isinstance(value, dict):
        puts = " ".join(f'put("{key}", {_quoted(_java(element, {}), element)});' for key, element in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    return _scalar(value) + {"long": "L", "float": "f"}.get(kind, "")


def _javascript(value: Any, parameter: Mapping[str, Any]) -> str:
    """Return source text that the official converter `js_type_converter` converts to the value."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        inner = parameter.get("items", {})
        return f"[{', '.join(_quoted(_javascript(element, inner), element) for element in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_quoted(_javascript(element, {}), element)}' for key, element in value.items())}}}"
    return _scalar(value) + {"Bigint": "n"}.get(parameter.get("type", "any"), "")


def _scalar(value: Any) -> str:
    return json.dumps(value)


def _quoted(text: str, value: Any) -> str:
    return f'"{text}"' if isinstance(value, str) else text
