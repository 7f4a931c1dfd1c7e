"""Audits: some requests in `auto`, drawn at random, are answered in the other mode too, in the background.

An audit decodes the first turn alone. It begins where the engine has an idle seat, runs no tools, and is nobody's use: neither
limits of keys nor usage count it.
"""

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_server.audit.records import Answer, Record, Records
from autotool_server.conversation.choice import Choice
from autotool_server.conversation.job import Job
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.turn import Turn
from autotool_server.targets.load import NONE
from autotool_server.tools.results import FAILURE_OUTCOMES, INVALID_OUTCOMES, Outcome

logger = logging.getLogger(__name__)

MAX_WAITING = 16
"""Audits that wait for those before them, with the prompts that they hold; further ones are dropped."""
LOWEST_PRIORITY = 2**31 - 1
FORCING_BIAS = 1e9
"""A reasoning bias that leaves no doubt about the decision."""

Ending = Literal["done", "dropped", "failed"]
Note = Callable[[Ending, Turn | None], None]
"""Is told how an audit has ended, and the turn that it has decoded, if any."""
FAILURES = {*FAILURE_OUTCOMES, *INVALID_OUTCOMES}


class Auditor:
    """Draws requests and audits them. `share`: the probability of a request to be drawn; `at_once`: audits in the engine.

    `has_idle_seat` says whether an audit may begin, by its job and the number of audits in the engine.
    """

    def __init__(self, share: float, at_once: int, has_idle_seat: Callable[[Job, int], bool], note: Note) -> None:
        self.share = share
        self.records = Records()
        self._has_idle_seat = has_idle_seat
        self._note = note
        self._places = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._num_running = 0
        self._tasks = set[asyncio.Task[None]]()
        self._is_closed = False

    def consider(self, job: Job, key: str | None, service: ConversationService) -> None:
        """Draw whether a request that has been answered is audited, and have it done in the background.

        Of requests with several choices none is, since they are no single answer, and none that the load has made think less.
        """
        answered = [turn for turn in job.choices[0].first_answer if isinstance(turn, Turn)]
        if job.mode is not Mode.AUTO or len(job.choices) > 1 or not answered or answered[0].p_long is None:
            return
        if any(turn.decision.relief is not NONE for turn in answered):
            return
        if random.random() >= self.share:  # noqa: S311 a sample, not a secret
            return
        if self._is_closed or len(self._tasks) >= MAX_WAITING + self._at_once:
            self._note("dropped", None)
            return
        # Nothing of the request that has ended is noted on behalf of the audit.
        task = asyncio.create_task(self._audit(job, answered, key, service), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the audits that run or wait."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until no audit runs or waits."""
        while self._tasks:
            await asyncio.wait({*self._tasks})

    async def _audit(self, job: Job, answered: Sequence[Turn], key: str | None, service: ConversationService) -> None:
        turn = _in_other_mode(answered[0])
        ending: Ending = "dropped"
        record = Record(key, answered[0].resolved, Answer(0, False), _tools_succeeded(job))
        self.records.add(job.id, record)
        try:
            async with self._places:
                if not self._has_idle_seat(replace(job, choices=[Choice(turn)]), self._num_running):
                    return
                ending = "failed"
                await self._decode(turn)
                record.answer = await _answer(answered, service)
                self.records.audited(record, await _answer([turn], service))
                ending = "done"
        except AutoToolError as error:
            logger.info("an audit failed: %s", type(error).__name__)
        except Exception:
            logger.exception("an audit failed")
        except asyncio.CancelledError:
            ending = "dropped"
            raise
        finally:
            if ending != "done":
                self.records.drop(job.id, key)
            self._note(ending, turn if turn.ledger.completion_tokens else None)

    async def _decode(self, turn: Turn) -> None:
        self._num_running += 1
        try:
            async with aclosing(turn.run()) as outputs:
                async for _ in outputs:
                    pass
        finally:
            self._num_running -= 1


def _in_other_mode(turn: Turn) -> Turn:
    """Return the same turn of `auto` with the decision that it has not taken. It follows no target."""
    request = replace(
        turn.request,
        id=f"{turn.request.id}-audit",
        reasoning_bias=FORCING_BIAS if turn.resolved is ResolvedMode.SHORT else -FORCING_BIAS,
        target=None,
        logprobs=None,
        priority=LOWEST_PRIORITY,
    )
    return turn.anew(request)


async def _answer(turns: Sequence[Turn], service: ConversationService) -> Answer:
    """Return what is kept of an answer: one turn that has ended, or one that was escalated and the one in its place."""
    last = turns[-1]
    calls = (await service.texts.run(last.collected)).calls
    has_form = calls is not None and last.finish_reason == "stop"
    if calls and has_form:
        has_form = await _are_valid(calls, last.request.tools, service)
    tokens = sum(turn.ledger.completion_tokens - turn.ledger.decision_tokens for turn in turns)
    return Answer(tokens, has_form, tuple(call.canonical() for call in calls or ()))


async def _are_valid(calls: Sequence[Call], tools: Sequence[Mapping[str, Any]], service: ConversationService) -> bool:
    """Return whether each call is one of these tools, with arguments that are valid by its schema."""
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    if any(call.name not in schemas for call in calls):
        return False
    return await service.schemas.are_valid([(schemas[call.name], call.arguments) for call in calls])


def _tools_succeeded(job: Job) -> bool | None:
    choice = job.choices[0]
    executions = choice.executions(len(choice.first_answer) - 1)
    outcomes = {Outcome(execution.outcome) for execution in executions}
    if not outcomes & {Outcome.OK, *FAILURES}:
        return None
    return not outcomes & FAILURES
