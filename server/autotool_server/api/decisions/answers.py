"""The way out: from the probabilities of a question's answers to OpenAI's decision object."""

from collections.abc import Mapping, Sequence
from typing import Any

from openai.types import Decision

from autotool_server.api.decisions.questions import AnyQuestion
from autotool_server.api.decisions.schemas import Choice, DecisionRequest, Predicate, Score
from autotool_server.api.protocol import ResponseBuilder
from autotool_server.conversation.choice import Choice as JobChoice
from autotool_server.conversation.choice import Output
from autotool_server.conversation.job import Job
from autotool_server.conversation.scoring import ScoredTurn


class DecisionBuilder(ResponseBuilder):
    """Makes a decision object of a job whose turns have scored the answers of the body's questions."""

    def __init__(self, body: DecisionRequest, job: Job) -> None:
        self._body = body
        self._job = job

    def add(self, choice: JobChoice[Any], output: Output) -> None:
        """Take nothing: the turns keep their probabilities."""

    def build(self) -> dict[str, Any]:
        turns = [turn for turn in self._job.turns if isinstance(turn, ScoredTurn)]
        answers = [_answer(question, turn.probabilities) for question, turn in zip(self._body.questions, turns, strict=True)]
        decision = Decision.model_validate({"answers": answers, "model": self._job.model, "usage": _usage(self._job)})
        return decision.model_dump(mode="json")


def _answer(question: AnyQuestion, probabilities: Sequence[float]) -> Mapping[str, Any]:
    named = {"type": question.type, "name": question.name}
    if isinstance(question, Predicate):
        return {**named, "probability": probabilities[0]}
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    named["confidence"] = probabilities[best]
    if isinstance(question, Choice):
        return {**named, "choice": question.choices[best].value, "probabilities": _of_choices(question, probabilities)}
    score = sum(level * probability for level, probability in enumerate(probabilities))
    return {**named, "score": score, "probabilities": _of_levels(question, probabilities)}


def _of_choices(question: Choice, probabilities: Sequence[float]) -> Sequence[Mapping[str, Any]]:
    pairs = zip(question.choices, probabilities, strict=True)
    return [{"value": option.value, "probability": probability} for option, probability in pairs]


def _of_levels(question: Score, probabilities: Sequence[float]) -> Sequence[Mapping[str, Any]]:
    pairs = enumerate(zip(question.levels, probabilities, strict=True))
    return [{"value": value, "label": level.label, "probability": probability} for value, (level, probability) in pairs]


def _usage(job: Job) -> Mapping[str, Any]:
    """Return the tokens of all questions: each has a prompt, whose part of the input is cached, and one decoded token."""
    tokens = job.usage()
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens.prompt + tokens.completion,
    }
