"""The rule of the special categories: the text states what is wrong with the request.

The rule is that of `special_eval` in ACEBench's `eval_main.py`, case-sensitive, on the answer's text alone:

| category | phrase in the text | details in the text |
|---|---|---|
| special_incomplete | Missing necessary parameters | the function's name and each missing parameter's |
| special_error_param | There is incorrect value | each wrong value |
| special_irrelevant | the limitations of the function | |

Calls in addition to the text do not count against it, because the published rule only looks for substrings. The prompt gives
the model these phrases, as the published prompt does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import Reply
from autotool_core.function_schemas import plain_name

INCOMPLETE = "Missing necessary parameters"
ERROR = "There is incorrect value"
IRRELEVANT = "the limitations of the function"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The substrings that the text of an answer must contain."""

    phrase: str
    details: tuple[str, ...]
    text: str
    """A text that contains them."""

    def judge(self, answer: Reply) -> str | None:
        """Return why an answer is wrong, or None if it is right."""
        text = answer.content or ""
        if self.phrase not in text:
            return "the answer does not say what is wrong with the request"
        if any(detail not in text for detail in self.details):
            return "the answer does not name all that is missing or wrong"
        return None

    def right(self) -> Reply:
        return Reply(content=self.text)

    def wrong(self) -> Reply:
        """Return the same text with another phrase."""
        other = INCOMPLETE if self.phrase != INCOMPLETE else ERROR
        return Reply(content=self.text.replace(self.phrase, other))


def expected(category: str, truth: Any, functions: Sequence[Mapping[str, Any]]) -> Refusal:
    """Read the data set's answer: `{function: [missing parameters]}`, `{parameter: [wrong values]}`, or a sentence."""
    if category == "special_irrelevant":
        return Refusal(IRRELEVANT, (), f"Due to {IRRELEVANT}, I cannot solve this problem.")
    if category == "special_incomplete":
        missing = {plain_name(name): tuple(parameters) for name, parameters in truth.items()}
        text = " ".join(f"{INCOMPLETE} ({', '.join(parameters)}) for the api ({name})" for name, parameters in missing.items())
        return Refusal(INCOMPLETE, (*missing, *(name for parameters in missing.values() for name in parameters)), text)
    wrong = {name: tuple(str(value) for value in values) for name, values in truth.items()}
    sentences = [f"{ERROR} ({', '.join(values)}) for the parameters ({name})" for name, values in wrong.items()]
    text = " ".join(f"{sentence} in the conversation history." for sentence in sentences)
    return Refusal(ERROR, tuple(value for values in wrong.values() for value in values), text)
