"""The rule of the special categories: the text names what is wrong with the request.

As `special_eval` of ACEBench's `eval_main.py` has it, letter for letter and case by case, on the answer's text alone:

| category | phrase that the text has | details that the text has |
|---|---|---|
| special_incomplete | Missing necessary parameters | the function's name and each missing parameter's |
| special_error_param | There is incorrect value | each wrong value |
| special_irrelevant | the limitations of the function | |

Calls beside the text do not count against it: the published rule looks for substrings and not for what else is there. The
prompt tells the model these phrases, as the published one does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import Reply
from autotool_core.functions import plain_name

INCOMPLETE = "Missing necessary parameters"
ERROR = "There is incorrect value"
IRRELEVANT = "the limitations of the function"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the text of an answer must have in it."""

    phrase: str
    details: tuple[str, ...]
    text: str
    """An answer that has it."""

    def judge(self, answer: Reply) -> str | None:
        """Why an answer is wrong, or None."""
        text = answer.content or ""
        if self.phrase not in text:
            return "the answer does not say what is wrong with the request"
        if any(detail not in text for detail in self.details):
            return "the answer does not name all that is missing or wrong"
        return None

    def right(self) -> Reply:
        return Reply(content=self.text)

    def wrong(self) -> Reply:
        """The same words in another diagnosis."""
        other = INCOMPLETE if self.phrase != INCOMPLETE else ERROR
        return Reply(content=self.text.replace(self.phrase, other))


def expected(category: str, truth: Any, functions: Sequence[Mapping[str, Any]]) -> Refusal:
    """Read the data set's answer: `{function: [missing parameters]}`, `{parameter: [wrong values]}`, or a sentence."""
    if category == "special_irrelevant":
        return Refusal(IRRELEVANT, (), f"Due to {IRRELEVANT}, I cannot solve this problem.")
    if category == "special_incomplete":
        missing = {plain_name(name): tuple(parameters) for name, parameters in truth.items()}
        text = " ".join(f"{INCOMPLETE} ({', '.join(parameters)}) for the api ({name})" for name, parameters in missing.items())
        return Refusal(INCOMPLETE, (*missing, *(one for parameters in missing.values() for one in parameters)), text)
    wrong = {name: tuple(str(value) for value in values) for name, values in truth.items()}
    said = [f"{ERROR} ({', '.join(values)}) for the parameters ({name})" for name, values in wrong.items()]
    text = " ".join(f"{sentence} in the conversation history." for sentence in said)
    return Refusal(ERROR, tuple(value for values in wrong.values() for value in values), text)
