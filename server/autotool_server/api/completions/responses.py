"""The way out: from a job's outputs to OpenAI's completions, one JSON object or chunks."""

import json
import time
from collections.abc import Sequence
from typing import Any

from openai.types import Completion

from autotool_core.parsing.events import ContentDelta
from autotool_server.api.completions.logprobs import LogprobLists
from autotool_server.api.openai_answers import usage
from autotool_server.api.protocol import ResponseBuilder, StreamWriter
from autotool_server.conversation.choice import Choice, ChoiceEnd, Generation, Output
from autotool_server.conversation.job import Job
from autotool_server.conversation.token_reader import TurnOutput


class CompletionBuilder(ResponseBuilder):
    """Collects a job's outputs into one `text_completion` object. `echoed`: what the text of each choice begins with."""

    def __init__(self, job: Job, echoed: Sequence[str], logprobs: Sequence[LogprobLists] | None) -> None:
        self._job = job
        self._texts = [[text] for text in echoed]
        self._logprobs = logprobs
        self._lists = [lists.lists(()) for lists in logprobs or ()]

    def add(self, choice: Choice[Generation], output: Output) -> None:
        if not isinstance(output, TurnOutput):
            return
        self._texts[choice.index].append(_text(output))
        if self._logprobs is not None:
            for name, values in self._logprobs[choice.index].lists(output.logprobs).items():
                self._lists[choice.index][name] += values

    def build(self) -> dict[str, Any]:
        completion = Completion.model_validate(
            {
                "id": self._job.id,
                "object": "text_completion",
                "created": int(time.time()),
                "model": self._job.model,
                "choices": [self._choice(choice) for choice in self._job.choices],
                "usage": usage(self._job),
                "autotool": self._job.record(),
            }
        )
        return completion.model_dump(mode="json", exclude_unset=True)

    def _choice(self, choice: Choice[Generation]) -> dict[str, Any]:
        return {
            "index": choice.index,
            "text": "".join(self._texts[choice.index]),
            "logprobs": self._lists[choice.index] if self._logprobs is not None else None,
            "finish_reason": choice.finish_reason,
        }


class ChunkWriter(StreamWriter):
    """Writes a job's outputs as server-sent `text_completion` events, put together from JSON text as those of chat."""

    def __init__(
        self,
        job: Job,
        echoed: Sequence[str],
        logprobs: Sequence[LogprobLists] | None,
        *,
        include_usage: bool,
        continuous_usage: bool,
    ) -> None:
        self._job = job
        self._echoed = list(echoed)
        self._logprobs = logprobs
        self._include_usage = include_usage
        self._continuous_usage = continuous_usage
        self._started = set[int]()
        self._running = len(job.choices)
        head = {"id": job.id, "object": "text_completion", "created": int(time.time()), "model": job.model}
        self._head = f"data: {json.dumps(head)[:-1]}, "

    def write(self, choice: Choice[Generation], output: Output) -> str:
        match output:
            case TurnOutput():
                return self._turn_output(choice, output)
            case ChoiceEnd():
                self._running -= 1
                record = {"autotool": self._job.record()} if self._running == 0 else {}
                return self._chunk(choice, "", finish=output.finish_reason, extra=record)
            case _:
                return ""

    def end(self) -> str:
        done = "data: [DONE]\n\n"
        if not self._include_usage:
            return done
        counted = json.dumps(usage(self._job).model_dump(exclude_none=True))
        return f'{self._head}"choices": [], "usage": {counted}}}\n\n{done}'

    def _turn_output(self, choice: Choice[Generation], output: TurnOutput) -> str:
        """Return the chunk of an output; a choice's first has what is echoed, and comes even if it shows no text."""
        is_first = choice.index not in self._started
        self._started.add(choice.index)
        text = (self._echoed[choice.index] if is_first else "") + _text(output)
        logprobs = self._logprobs[choice.index].lists(output.logprobs) if self._logprobs and output.logprobs else None
        return self._chunk(choice, text, logprobs=logprobs) if text or logprobs or is_first else ""

    def _chunk(
        self,
        choice: Choice[Generation],
        text: str,
        *,
        logprobs: dict[str, list[Any]] | None = None,
        finish: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> str:
        shown = {"index": choice.index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        rest = {"choices": [shown], **(extra or {}), **self._usage(choice)}
        return f"{self._head}{json.dumps(rest)[1:]}\n\n"

    def _usage(self, choice: Choice[Generation]) -> dict[str, Any]:
        """Return the usage that a chunk has: null, unless the client wants that of its choice in every chunk."""
        if not self._include_usage:
            return {}
        if not self._continuous_usage:
            return {"usage": None}
        prompt = sum(turn.prompt_tokens for turn in choice.turns)
        completion = sum(turn.ledger.completion_tokens for turn in choice.turns)
        counted = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return {"usage": counted}


def _text(output: TurnOutput) -> str:
    return "".join(event.text for event in output.events if isinstance(event, ContentDelta))
