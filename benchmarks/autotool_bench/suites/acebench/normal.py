"""The rule of the normal categories: the calls that the request needs.

The rule is that of `normal_checker` in ACEBench's `model_eval/checker.py`:

- The calls are as many as those of the expected answer, of the same tools, each as often, in any order. The data number the
  calls of one tool (`f_1`, `f_2`).
- Every expected call is matched by a call of its name: no required parameter is missing, and no parameter is given that the
  expected call lacks. Optional parameters of the expected call may be missing.
- A value has the type that the schema declares, or else the type of the expected value, or equals it. Integers and floats
  differ, but where a float is declared an integer will do; "true" and "false" stand for truth values.
- Texts are compared without case, white space and any of `,./-_*^`, and with one type of quote; the expected text may be a
  part of the given text.
- Lists are equal, item by item, texts so simplified. Lists of objects are compared object by object.
- Objects have the same keys; of each value, the text (Python's, so that 5 is a part of 50) has the expected one as a part.
- **Numbers and truth values that are arguments themselves are not compared**, nor are values whose declared type is not that
  of the expected value: the published rule checks only their type. So figures of `normal_atom_number` and `normal_atom_bool`
  are less strict than their names suggest.
- If the data set gives several possible answers, a match with one of them is enough.

The differences, which make every answer of the data set itself right: arguments are JSON and keep their white space (the
published evaluator removes it before it parses, and so rejects text with spaces in a list within an object); a function is
looked up by its exact name (there, by the first function whose name is a part of it); an empty call is right exactly if an
empty call is expected; an empty list or object may be expected; `objectArray`, which fails there, is a list of objects; a type
that the published table lacks, or `enum`, is that of the expected value.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import Reply, ToolCall, read_calls
from autotool_core.calls import Call
from autotool_core.function_schemas import plain_name

TYPES: Mapping[Any, type] = {
    **dict.fromkeys(("string", "any"), str),
    **dict.fromkeys(("integer", "int", "number"), int),
    **dict.fromkeys(("array", "tuple", "list", "list(string)", "list(enum)", "objectArray"), list),
    **dict.fromkeys(("object", "dict"), dict),
    "float": float,
    "boolean": bool,
}
"""Python's type for each type that a schema declares. `number` is int as in the published table: a float passes only if one
is expected."""
TRUTH_VALUES = {"true": True, "false": False}
IGNORED_CHARACTERS = re.compile(r"[\s,./\-_*^]")


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """An expected call: a call of a possible answer."""

    name: str
    arguments: Mapping[str, Any]
    types: Mapping[str, Any]
    """The declared type of each parameter of the tool."""
    required: tuple[str, ...]

    def judge(self, given: Mapping[str, Any]) -> str | None:
        """Return why a call of this name is wrong, or None if it is right."""
        if not given or not self.arguments:
            return None if given == self.arguments else f"{self.name} needs {'other' if self.arguments else 'no'} arguments"
        if missing := [name for name in self.required if name not in given]:
            return f"{self.name} lacks {missing[0]}"
        for name, value in given.items():
            if name not in self.types or name not in self.arguments:
                return f"{self.name} has an argument that is not expected"
            if not matches(value, self.arguments[name], self.types[name]):
                return f"{self.name} has another {name}"
        return None

    def corrupted(self) -> Call | None:
        """Return this call with a changed value that the rule compares; None if it has no such value."""
        for name, value in self.arguments.items():
            expected_type = TYPES.get(self.types.get(name))
            if type(value) is expected_type and (changed := _corrupted(value)) is not None:
                return Call(self.name, {**self.arguments, name: changed})
        return None


@dataclass(frozen=True, slots=True)
class ExpectedCalls:
    """The possible answers of an item, one of which is enough."""

    answers: tuple[tuple[ExpectedCall, ...], ...]

    def judge(self, answer: Reply) -> str | None:
        """Return why an answer is wrong by the first possible answer, or None if it is right."""
        calls = read_calls(answer)
        if calls is None:
            return "the arguments of a call are no JSON object"
        reasons = [_judge(calls, expected) for expected in self.answers]
        return None if None in reasons else reasons[0]

    def right(self) -> Reply:
        """Return the first possible answer."""
        return _reply([Call(expected.name, expected.arguments) for expected in self.answers[0]])

    def wrong(self) -> Reply:
        """Return the calls with a changed value in each, or without the last call if no value is compared."""
        calls = [Call(expected.name, expected.arguments) for expected in self.answers[0]]
        corrupted = [expected.corrupted() for expected in self.answers[0]]
        if not any(corrupted):
            return _reply(calls[:-1])
        return _reply([changed or call for changed, call in zip(corrupted, calls, strict=True)])


def expected(category: str, truth: Any, functions: Sequence[Mapping[str, Any]]) -> ExpectedCalls:
    """Read the data set's answer: `{function: arguments}`, or a list of such."""
    by_name = {function["name"]: function for function in functions}
    answers = truth if isinstance(truth, list) else [truth]
    return ExpectedCalls(
        tuple(tuple(_expected(key, arguments, by_name) for key, arguments in answer.items()) for answer in answers)
    )


def schema(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a function's arguments, which the data have under one of two names."""
    return function["parameters"] if "parameters" in function else function["arguments"]


def matches(value: Any, gold: Any, declared: Any) -> bool:
    """Return whether the rule accepts a value for the expected one, given the type that the schema declares."""
    expected_type = TYPES.get(declared, type(gold))
    if expected_type is bool and value in ("true", "false"):
        value = TRUTH_VALUES[value]
    if expected_type is float and type(value) is int:
        value = float(value)
    if type(value) is not expected_type:
        return type(value) is type(gold) or value == gold
    return type(gold) is not expected_type or _same(value, gold)


def _same(value: Any, gold: Any) -> bool:
    if isinstance(gold, str):
        return _simplified(gold) in _simplified(value)
    if isinstance(gold, dict):
        return _same_object(value, gold)
    if isinstance(gold, list):
        return _same_list(value, gold)
    return True


def _same_list(value: list[Any], gold: list[Any]) -> bool:
    if gold and all(isinstance(element, dict) for element in gold):
        return len(value) == len(gold) and all(map(_same_object, value, gold))
    return [_simplified(element) for element in value] == [_simplified(element) for element in gold]


def _same_object(value: Any, gold: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and value.keys() == gold.keys() and all(_contains(value[key], gold[key]) for key in gold)


def _contains(value: Any, gold: Any) -> bool:
    if isinstance(gold, dict):
        return _same_object(value, gold)
    if isinstance(value, str):
        value = TRUTH_VALUES.get(value, value)
    return str(_simplified(gold)) in str(_simplified(value))


def _simplified(value: Any) -> Any:
    return IGNORED_CHARACTERS.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _judge(calls: Sequence[Call], answer: Sequence[ExpectedCall]) -> str | None:
    if len(calls) != len(answer):
        return f"{len(calls)} calls where {len(answer)} are expected"
    if Counter(call.name for call in calls) != Counter(expected.name for expected in answer):
        return "calls of other tools than expected"
    for expected in answer:
        reasons = [expected.judge(call.arguments) for call in calls if call.name == expected.name]
        if None not in reasons:
            return reasons[0]
    return None


def _expected(key: str, arguments: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> ExpectedCall:
    name = key if key in by_name else re.sub(r"_\d+$", "", key)
    if name not in by_name:
        raise ValueError(f"its answer calls {name}, which is not among its functions")
    declared = schema(by_name[name])
    types = {parameter: inner.get("type") for parameter, inner in declared.get("properties", {}).items()}
    return ExpectedCall(plain_name(name), arguments, types, tuple(declared.get("required", ())))


def _reply(calls: Sequence[Call]) -> Reply:
    return Reply(calls=tuple(ToolCall(call.name, json.dumps(call.arguments)) for call in calls))


def _corrupted(value: Any) -> Any:
    if isinstance(value, str):
        while value and not _simplified(value[-1]):
            value = value[:-1]
        return value[:-1] if value else None
    if isinstance(value, dict):
        return dict(list(value.items())[:-1]) if value else None
    return value[:-1] if isinstance(value, list) and value else None
