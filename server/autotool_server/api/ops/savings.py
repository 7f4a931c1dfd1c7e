"""`GET /v1/savings`: what `auto` saves and loses by the audits; `POST /v1/feedback`: whether an answer solved its request."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from autotool_server.api import auth
from autotool_server.api.fields import Body
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.ops.answer import answer
from autotool_server.api.shutdown import StoppingError
from autotool_server.api.state import ServerState, state_of
from autotool_server.audit.estimate import Comparison, savings
from autotool_server.audit.records import Pair, SettledBy
from autotool_server.settings import Settings

router = APIRouter()


class Figures(BaseModel):
    """What audited requests say. Each number has its 95 % interval."""

    requests: int
    """Audited requests."""
    settled_by: dict[SettledBy, int]
    """Those of them by what has settled whether `auto` solved them."""
    against_long: Comparison
    """`auto` against `long` for all requests."""
    against_short: Comparison
    """`auto` against `short` for all requests."""
    summary: str
    """What `auto` saves against `long`, as a sentence; the numbers after ± are half of an interval's width."""


class SavingsAnswer(BaseModel):
    """What `auto` saves and loses, as far as the key that asks may know."""

    object: Literal["savings"] = "savings"
    model: str
    share: float
    """The share of requests that is audited."""
    total: Figures | None
    """The figures of all requests that the key may know: its own, or everybody's; null before the first audit."""
    by_key: dict[str, Figures]
    """The same by the names of keys."""


class FeedbackRequest(Body):
    """The body of `/v1/feedback`."""

    request_id: str
    """The `id` of the answer."""
    solved: bool
    """Whether the answer solved the request."""
    other_solved: bool | None = None
    """Whether that of the audit did, for who knows it."""


class FeedbackAnswer(Body):
    """What has become of the feedback."""

    object: Literal["feedback"] = "feedback"
    request_id: str
    audited: bool
    """Whether the request is audited. Feedback about others is not kept."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The figures of one state of the records, which may still be made."""

    revision: int
    figures: "asyncio.Future[Figures | None]"

    @property
    def has_failed(self) -> bool:
        """Whether they have to be made anew, as after a stop of the threads that made them."""
        return self.figures.done() and (self.figures.cancelled() or self.figures.exception() is not None)


class Estimates:
    """The figures that were made last: making them takes up to a second, and is done once for each state of the records."""

    def __init__(self, _: Settings) -> None:
        self._kept: dict[str | None, _Kept] = {}

    async def of(self, name: str | None, pairs: Sequence[Pair], revision: int, state: ServerState) -> Figures | None:
        """Return the figures of a key's audited requests, or of everybody's (None), at a revision; None without any.

        Raises StoppingError if the server stops before they are made.
        """
        kept = self._kept.get(name)
        if kept is None or kept.revision < revision or kept.has_failed:
            kept = self._kept[name] = _Kept(revision, asyncio.ensure_future(state.service.texts.run(_figures, pairs)))
        # Those who ask meanwhile wait for the same figures, also if the first of them leaves.
        await asyncio.wait((kept.figures,))
        if kept.figures.cancelled():  # as its threads have ended, which do so with the server
            raise StoppingError
        return kept.figures.result()


def _figures(pairs: Sequence[Pair]) -> Figures | None:
    found = savings(pairs)
    if found is None:
        return None
    return Figures(
        requests=found.requests,
        settled_by=dict(found.settled_by),
        against_long=found.against_long,
        against_short=found.against_short,
        summary=str(found),
    )


@router.get("/v1/savings")
@documented(Operation(answer=SavingsAnswer))
async def get_savings(request: Request) -> SavingsAnswer:
    """Return what `auto` saves and loses, by the audits. A key sees its own requests; the server's own key sees all."""
    state = auth.authorize(auth.every_key(request), state_of(request))
    found, revision = state.auditor.records.pairs(), state.auditor.records.revision
    if state.key_name is not None:
        found = {state.key_name: found.get(state.key_name, ())}
    estimates = state.own(Estimates)
    by_key = {name: await estimates.of(name, pairs, revision, state) for name, pairs in found.items() if name is not None}
    total = await estimates.of(state.key_name, [pair for pairs in found.values() for pair in pairs], revision, state)
    return SavingsAnswer(
        model=state.service.model,
        share=state.auditor.share,
        total=total,
        by_key={name: figures for name, figures in by_key.items() if figures is not None},
    )


@router.post("/v1/feedback")
@documented(Operation(FeedbackRequest, FeedbackAnswer))
async def post_feedback(request: Request) -> Response:
    """Say whether an answer solved its request. A key may say so of its own answers."""
    return await answer(request, FeedbackRequest, _feedback)


async def _feedback(body: FeedbackRequest, state: ServerState) -> FeedbackAnswer:
    records = state.auditor.records
    is_audited = records.give_feedback(body.request_id, state.key_name, body.solved, body.other_solved)
    return FeedbackAnswer(request_id=body.request_id, audited=is_audited)
