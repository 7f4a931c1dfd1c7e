"""The rule of the normal categories: the calls that the request needs.

As `normal_checker` of ACEBench's `model_eval/checker.py` has it:

- As many calls as the answer has, of the same tools, each as often, in any order. The data number calls of one tool (`f_1`,
  `f_2`).
- Every expected call is met by some call of its name: no required parameter is missing, and none is there that the answer
  has not. Optional parameters of the answer may be missing.
- A value has the type that the schema declares, or else the type of the expected value, or equals it. Integers and floats
  differ, but where a float is declared an integer will do; "true" and "false" stand for truth values.
- Texts are compared without case, white space and any of `,./-_*^`, and with one kind of quote; the expected text may be a
  part of the given one.
- Lists are equal, item by item, texts so simplified. Lists of objects are compared object by object.
- Objects have the same keys; of each value, the text (Python's, so that 5 is a part of 50) has the expected one as a part.
- **Numbers and truth values that are arguments themselves are not compared**, nor are values where the declared type is not
  that of the expected value: their type is all that the published rule looks at. So figures of `normal_atom_number` and
  `normal_atom_bool` say less than they seem to.
- Where the data set gives several possible answers, one of them is enough.

What differs, so that every answer of the data set itself is right: arguments come as JSON and keep their white space (the
published evaluator takes all of it out before it parses, and so refuses text with spaces in a list within an object); a
function is found by its exact name (there, by the first one whose name is a part of it); an empty call is right exactly
where an empty one is expected; an empty list or object may be expected; `objectArray`, which fails there, is a list of
objects; a type that the published table lacks, or `enum`, is that of the expected value.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import Reply, ToolCall, read_calls
from autotool_core.calls import Call
from autotool_core.functions import plain_name

KINDS: Mapping[Any, type] = {
    **dict.fromkeys(("string", "any"), str),
    **dict.fromkeys(("integer", "int", "number"), int),
    **dict.fromkeys(("array", "tuple", "list", "list(string)", "list(enum)", "objectArray"), list),
    **dict.fromkeys(("object", "dict"), dict),
    "float": float,
    "boolean": bool,
}
"""The type of a value by the type that a schema declares; `number` as there: a float passes only where one is expected."""
WORDS = {"true": True, "false": False}
PASSED_OVER = re.compile(r"[\s,./\-_*^]")


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call of a possible answer."""

    name: str
    arguments: Mapping[str, Any]
    kinds: Mapping[str, Any]
    """The declared type of each parameter that the tool has."""
    required: tuple[str, ...]

    def judge(self, given: Mapping[str, Any]) -> str | None:
        """Why a call of this name is wrong, or None."""
        if not given or not self.arguments:
            return None if given == self.arguments else f"{self.name} needs {'other' if self.arguments else 'no'} arguments"
        if missing := [name for name in self.required if name not in given]:
            return f"{self.name} lacks {missing[0]}"
        for name, value in given.items():
            if name not in self.kinds or name not in self.arguments:
                return f"{self.name} has an argument that is not expected"
            if not matches(value, self.arguments[name], self.kinds[name]):
                return f"{self.name} has another {name}"
        return None

    def spoilt(self) -> Call | None:
        """This call with a value changed that the rule compares; None if it has no such value."""
        for name, value in self.arguments.items():
            kind = KINDS.get(self.kinds.get(name))
            if type(value) is kind and (changed := _spoilt(value)) is not None:
                return Call(self.name, {**self.arguments, name: changed})
        return None


@dataclass(frozen=True, slots=True)
class ExpectedCalls:
    """The possible answers of an item, one of which is enough."""

    answers: tuple[tuple[ExpectedCall, ...], ...]

    def judge(self, answer: Reply) -> str | None:
        """Why an answer is wrong, as the first possible answer tells, or None."""
        calls = read_calls(answer)
        if calls is None:
            return "the arguments of a call are no JSON object"
        reasons = [_judge(calls, expected) for expected in self.answers]
        return None if None in reasons else reasons[0]

    def right(self) -> Reply:
        return _answer([Call(one.name, one.arguments) for one in self.answers[0]])

    def wrong(self) -> Reply:
        """The calls with a value changed in each, or without the last where no value is compared."""
        first = self.answers[0]
        spoilt = [one.spoilt() for one in first]
        if not any(spoilt):
            return _answer([Call(one.name, one.arguments) for one in first[:-1]])
        return _answer([changed or Call(one.name, one.arguments) for changed, one in zip(spoilt, first, strict=True)])


def expected(category: str, truth: Any, functions: Sequence[Mapping[str, Any]]) -> ExpectedCalls:
    """Read the data set's answer: `{function: arguments}`, or a list of such."""
    by_name = {function["name"]: function for function in functions}
    answers = truth if isinstance(truth, list) else [truth]
    return ExpectedCalls(tuple(tuple(_expected(key, arguments, by_name) for key, arguments in one.items()) for one in answers))


def schema(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a function's arguments, under either of the names that the data have for it."""
    return function["parameters"] if "parameters" in function else function["arguments"]


def matches(value: Any, gold: Any, declared: Any) -> bool:
    """Whether the rule takes a value for the expected one, where a schema declares the type's name."""
    kind = KINDS.get(declared, type(gold))
    if kind is bool and value in ("true", "false"):
        value = WORDS[value]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        return type(value) is type(gold) or value == gold
    return type(gold) is not kind or _same(value, gold)


def _same(value: Any, gold: Any) -> bool:
    if isinstance(gold, str):
        return _simple(gold) in _simple(value)
    if isinstance(gold, dict):
        return _same_object(value, gold)
    if isinstance(gold, list):
        return _same_list(value, gold)
    return True


def _same_list(value: list[Any], gold: list[Any]) -> bool:
    if gold and all(isinstance(one, dict) for one in gold):
        return len(value) == len(gold) and all(map(_same_object, value, gold))
    return [_simple(one) for one in value] == [_simple(one) for one in gold]


def _same_object(value: Any, gold: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and value.keys() == gold.keys() and all(_holds(value[key], gold[key]) for key in gold)


def _holds(value: Any, gold: Any) -> bool:
    if isinstance(gold, dict):
        return _same_object(value, gold)
    if isinstance(value, str):
        value = WORDS.get(value, value)
    return str(_simple(gold)) in str(_simple(value))


def _simple(value: Any) -> Any:
    return PASSED_OVER.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _judge(calls: Sequence[Call], answer: Sequence[ExpectedCall]) -> str | None:
    if len(calls) != len(answer):
        return f"{len(calls)} calls where {len(answer)} are expected"
    if Counter(call.name for call in calls) != Counter(one.name for one in answer):
        return "calls of other tools than expected"
    for one in answer:
        reasons = [one.judge(call.arguments) for call in calls if call.name == one.name]
        if None not in reasons:
            return reasons[0]
    return None


def _expected(key: str, arguments: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> ExpectedCall:
    name = key if key in by_name else re.sub(r"_\d+$", "", key)
    if name not in by_name:
        raise ValueError(f"its answer calls {name}, which is none of its functions")
    declared = schema(by_name[name])
    kinds = {parameter: inner.get("type") for parameter, inner in declared.get("properties", {}).items()}
    return ExpectedCall(plain_name(name), arguments, kinds, tuple(declared.get("required", ())))


def _answer(calls: Sequence[Call]) -> Reply:
    return Reply(calls=tuple(ToolCall(call.name, json.dumps(call.arguments)) for call in calls))


def _spoilt(value: Any) -> Any:
    if isinstance(value, str):
        while value and not _simple(value[-1]):
            value = value[:-1]
        return value[:-1] if value else None
    if isinstance(value, dict):
        return dict(list(value.items())[:-1]) if value else None
    return value[:-1] if isinstance(value, list) and value else None
