"""`GET /v1/usage`: what the key that asks has used, and what it may use."""

import time
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from autotool_core.errors import InvalidRequestError
from autotool_server.api import auth
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.state import state_of
from autotool_server.state_store.use import Use, UseByMode
from autotool_server.state_store.windows import day_of

LIMITS = {"concurrent_requests", "requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month"}


router = APIRouter()


class Figures(BaseModel):
    """What requests have used."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class PeriodUsage(Figures):
    """What was used since the beginning of a period."""

    since: str
    """The day on which the period began, of UTC."""
    by_mode: dict[str, Figures]
    """What was used by each mode that was asked for; `plain` is plain text, `decision` is `/v1/decisions`,
    and `quote` is a quote."""


class KeyUsage(BaseModel):
    """What a key has used."""

    object: Literal["usage"] = "usage"
    key: str
    """The key's name in the keys file."""
    today: PeriodUsage
    this_month: PeriodUsage
    limits: dict[str, int]
    """The limits of the key, by their names in the keys file."""


@router.get("/v1/usage")
@documented(Operation(answer=KeyUsage))
async def get_usage(request: Request) -> KeyUsage:
    """Return what the key that asks has used today and this month, by mode. Requests in flight are not in it yet."""
    state = auth.authorize(auth.every_key(request), state_of(request))
    key = state.key
    if key is None:
        message = "Use is counted for the keys of the keys file (autotool serve --keys), and this request has none of them."
        raise InvalidRequestError(message, code="no_usage", status=404)
    today, month = await state.quotas.use(key)
    day = day_of(time.time()).date()
    limits = key.model_dump(include=LIMITS, exclude_none=True)
    return KeyUsage(
        key=key.name,
        today=_period(today, day.isoformat()),
        this_month=_period(month, day.replace(day=1).isoformat()),
        limits=limits,
    )


def _period(used: UseByMode, since: str) -> PeriodUsage:
    total = _figures(sum(used.values(), Use()))
    return PeriodUsage(since=since, by_mode={mode: _figures(use) for mode, use in used.items()}, **total.model_dump())


def _figures(use: Use) -> Figures:
    return Figures(
        requests=use.requests,
        prompt_tokens=use.prompt_tokens,
        completion_tokens=use.completion_tokens,
        total_tokens=use.tokens,
    )
