"""What both forms of OpenAI's answers share, the one JSON object and the chunks."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from autotool_server.conversation.choice import Choice
from autotool_server.conversation.job import Job

REASONING_NAMES = {
    "both": ("reasoning", "reasoning_content"),
    "reasoning": ("reasoning",),
    "reasoning_content": ("reasoning_content",),
}


FINGERPRINT = f"autotool-{version('autotool-server')}"
"""Changes whenever the same seed may give another answer."""


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What a request wants to see of its answer."""

    reasoning_names: tuple[str, ...]
    """The fields that carry the reasoning; none where it is left out."""
    logprobs: bool = False
    token_ids: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    """Whether every chunk has the usage so far."""
    include_decision: bool = False
    """Whether decisions of `auto` are events of the stream."""
    function_call: bool = False
    """Whether a call has the form before `tool_calls`."""
    service_tier: bool = False
    """Whether the answer says in which tier it was served: there is one only."""

    def head(self, job: Job, kind: str) -> dict[str, Any]:
        """Return the fields that begin an answer, or each of its chunks."""
        head = {"id": job.id, "object": kind, "created": int(time.time()), "model": job.model}
        return head | ({"service_tier": "default"} if self.service_tier else {}) | {"system_fingerprint": FINGERPRINT}

    def record(self, job: Job) -> dict[str, Any]:
        """Return the decision record, without reasoning where the request leaves it out."""
        return job.record(shows_reasoning=bool(self.reasoning_names))

    def finish_reason(self, reason: str) -> str:
        """Return the reason by its name in the form of calls that the request uses."""
        return "function_call" if self.function_call and reason == "tool_calls" else reason


def prompt_token_ids(job: Job) -> list[int]:
    """Return the ids of the prompt, which all choices share."""
    return [*job.choices[0].turns[0].prompt_ids]


def stop_reason(choice: Choice) -> dict[str, str | int]:
    """Return vLLM's `stop_reason`, the stop string or token of the request that ended the answer, if one did."""
    turn = choice.turns[-1]
    reason = turn.stop_string if turn.stop_token_id is None else turn.stop_token_id
    return {} if reason is None else {"stop_reason": reason}


def logprobs_of(content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OpenAI's object of the log-probabilities of content tokens."""
    return {"content": content, "refusal": None}
