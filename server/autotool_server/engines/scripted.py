"""An engine that decodes scripts instead of a model: exact for tests, free for measuring what the server itself costs."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence

from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.base import EngineRequest, Score, TokenDelta, TokenLogprob

Script = Callable[[EngineRequest], Sequence[int]]


class ScriptedEngine:
    """Decodes what `script` returns for a request, one token a delta; ends with a stop token or `max_tokens`.

    `log_odds` is what `score` finds between the first and the second candidate. `gate`, if given, is awaited before
    every token, so that a test can hold a generation at any point. `requests` are those that were started, `aborted`
    the ids of those that did not run to their end.
    """

    name = "scripted"
    checkpoint = "scripted"
    model_name = "scripted"
    max_model_len = 4096

    def __init__(self, tokenizer: Tokenizer, eos_token_ids: tuple[int, ...], script: Script, *, log_odds: float = 0.0) -> None:
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.script = script
        self.log_odds = log_odds
        self.gate: Callable[[], asyncio.Future[None] | None] | None = None
        self.requests: list[EngineRequest] = []
        self.aborted: list[str] = []
        self._in_flight = 0

    async def start(self) -> None:
        """Nothing to load."""

    async def stop(self) -> None:
        """Nothing to free."""

    async def health(self) -> None:
        """Always well."""

    def in_flight(self) -> int:
        """Generations that have begun and not ended."""
        return self._in_flight

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        """Yield the script."""
        self.requests.append(request)
        self._in_flight += 1
        ended = False
        try:
            tokens = self.script(request)[: request.max_tokens]
            for at, token in enumerate(tokens):
                await self._wait()
                stops = token in request.stop_token_ids
                last = stops or at + 1 == len(tokens)
                ended = last
                finish = ("stop" if stops else "length") if last else None
                yield TokenDelta((token,), _logprobs(token, request.logprobs), finish)
                if last:
                    return
        finally:
            self._in_flight -= 1
            if not ended:
                self.aborted.append(request.request_id)

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...]) -> Score:
        """The scripted log-odds."""
        self._in_flight += 1
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.aborted.append(request_id)
            raise
        finally:
            self._in_flight -= 1
        return Score((self.log_odds, 0.0), cached_tokens=0)

    async def _wait(self) -> None:
        waited = self.gate() if self.gate is not None else None
        # A real engine lets other streams run between two tokens; so does this one.
        await (waited if waited is not None else asyncio.sleep(0))


def _logprobs(token: int, alternatives: int | None) -> tuple[TokenLogprob, ...] | None:
    if alternatives is None:
        return None
    top = tuple((token + offset, -math.log(2.0 + offset)) for offset in range(alternatives))
    return (TokenLogprob(token, -math.log(2.0), top),)
