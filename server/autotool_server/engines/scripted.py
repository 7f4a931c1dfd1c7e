"""An engine that decodes scripts instead of a model, for exact tests and for measurements of the server's overhead."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.base import (
    Capacity,
    DecisionRequest,
    EngineRequest,
    Score,
    TokenDelta,
    TokenLogprob,
    decide_in_two,
)

Script = Callable[[EngineRequest], Sequence[int]]


class ScriptedEngine:
    """Decodes what `script` returns for a request, one token a delta; ends with a stop token or `max_tokens`.

    `log_odds`: the difference of `score` between the first and the second candidate. `gate`, if given, is awaited before
    every token, so that a test can pause a generation at any point. `requests` are all started requests, `aborted` the ids
    of those that did not run to their end, `trace_headers` those of the scores. `capacity` may be set before the engine is
    served.
    """

    name = "scripted"
    in_process = True
    checkpoint = "scripted"
    model_name = "scripted"
    max_model_len = 4096
    device = "none"

    def __init__(self, tokenizer: Tokenizer, eos_token_ids: tuple[int, ...], script: Script, *, log_odds: float = 0.0) -> None:
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.script = script
        self.log_odds = log_odds
        self.capacity = Capacity(requests=2048)
        self.gate: Callable[[], asyncio.Future[None] | None] | None = None
        self.requests: list[EngineRequest] = []
        self.aborted: list[str] = []
        self.trace_headers: list[Mapping[str, str] | None] = []
        self._in_flight = 0

    async def start(self) -> None:
        """Do nothing: there is no model to load."""

    async def stop(self) -> None:
        """Do nothing: there are no resources to free."""

    async def health(self) -> None:
        """Do nothing: this engine never fails."""

    def in_flight(self) -> int:
        """Return the number of running generations and scores."""
        return self._in_flight

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        """Yield the tokens of the script."""
        self.requests.append(request)
        self._in_flight += 1
        ended = False
        try:
            tokens = self.script(request)[: request.max_tokens]
            for index, token in enumerate(tokens):
                await self._wait()
                stops = token in request.stop_token_ids
                last = stops or index + 1 == len(tokens)
                ended = last
                finish = ("stop" if stops else "length") if last else None
                yield TokenDelta((token,), _logprobs(token, request.logprobs), finish)
                if last:
                    return
        finally:
            self._in_flight -= 1
            if not ended:
                self.aborted.append(request.request_id)

    async def score(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        candidates: tuple[int, ...],
        *,
        priority: int = 0,
        due: float | None = None,
        trace_headers: Mapping[str, str] | None = None,
    ) -> Score:
        """Return the scripted log-odds for the first candidate, and 0 for the others."""
        self.trace_headers.append(trace_headers)
        self._in_flight += 1
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.aborted.append(request_id)
            raise
        finally:
            self._in_flight -= 1
        return Score((self.log_odds, *(0.0 for _ in candidates[1:])), cached_tokens=0)

    def decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        return decide_in_two(self, request)

    async def _wait(self) -> None:
        waited = self.gate() if self.gate is not None else None
        # As in a real engine, other streams run between two tokens.
        await (waited if waited is not None else asyncio.sleep(0))


def _logprobs(token: int, alternatives: int | None) -> tuple[TokenLogprob, ...] | None:
    if alternatives is None:
        return None
    top = tuple((token + offset, -math.log(2.0 + offset)) for offset in range(alternatives))
    return (TokenLogprob(token, -math.log(2.0), top),)
