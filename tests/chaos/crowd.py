"""Clients that send requests, many at once, and say what became of each."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from tqdm import tqdm

from chaos.traffic import ENDS, Ask, Json, text_of, text_of_stream

Outcome = Literal["right", "refused", "spent", "failed", "cut", "no connection", "left", "wrong", "stuck"]
"""`right`: the right answer, or the right error. `refused`: try again, after so many seconds. `spent`: the budget of the key is
used up. `failed`: an error that says so, as a status or as the last event of a stream. `cut`: the connection ended without a
word. `wrong`: another answer or another status than the right one."""

STUCK_SECONDS = 180
SLOW_SECONDS = 0.05
"""Between two events that a slow reader takes."""
MAX_EXAMPLES = 4
REFUSALS = (429, 503, 529)
STATUSES = {"engine_error": 503, "overloaded": 503, "overloaded_error": 529, "api_error": 500, "insufficient_quota": 429}
"""The status that the server counts for a stream that ends with an error, by the error's code or kind."""
MAX_WAIT = 5.0
"""The most seconds that a client waits after a refusal, before it sends its request again."""
MAX_TRIES = 30


class CutError(Exception):
    """A stream has ended without its last event."""


class FailedError(Exception):
    """A stream has ended with an error."""


@dataclass(frozen=True)
class Target:
    """Where a request goes, and with which key."""

    url: str
    key: str

    def post(self, session: aiohttp.ClientSession, ask: Ask) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request."""
        return session.post(self.url + ask.path, json=ask.body, headers={"authorization": f"Bearer {self.key}"})


@dataclass
class Crowd:
    """Sends requests to servers in turn."""

    urls: Sequence[str]
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    """The right texts by `Ask.same_as`."""
    keys: Sequence[str] = ("none",)
    """Keys that are sent in turn."""
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    """What became of every try of every request."""
    statuses: Counter[int] = field(default_factory=Counter[int])
    """The numbers of answers to patient clients, by status."""
    examples: dict[Outcome, list[str]] = field(default_factory=dict[Outcome, list[str]])
    """Some of what did not go right."""
    done: int = 0
    """Requests that are over."""

    async def run(self, make: Callable[[], Ask], count: int, at_once: int) -> None:
        """Send `count` requests, `at_once` at a time."""
        left = iter(range(count))
        # A connection for every request: a kept one may belong to a server that was killed.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            with tqdm(total=count, unit="request") as bar:

                async def client() -> None:
                    for number in left:
                        key = self.keys[number // len(self.urls) % len(self.keys)]
                        await self._count(session, make(), Target(self.urls[number % len(self.urls)], key))
                        bar.update()

                await asyncio.gather(*(client() for _ in range(at_once)))

    async def learn(self, asks: Sequence[Ask]) -> dict[str, str]:
        """Return the answers to requests, each asked alone."""
        async with aiohttp.ClientSession() as session:
            target = Target(self.urls[0], self.keys[0])
            return {ask.same_as or "": await _whole(session, ask, target) for ask in asks}

    async def _count(self, session: aiohttp.ClientSession, ask: Ask, target: Target) -> None:
        for _ in range(MAX_TRIES):  # as the official clients do, only more often
            outcome = await self._outcome(session, ask, target)
            self.outcomes[outcome] += 1
            if outcome not in ("refused", "no connection"):
                break
            await asyncio.sleep(random.uniform(1, MAX_WAIT))
        self.done += 1

    async def _outcome(self, session: aiohttp.ClientSession, ask: Ask, target: Target) -> Outcome:
        started = time.monotonic()
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                return await self._ask(session, ask, target)
        except TimeoutError:
            return self._note("stuck", ask, "")
        except aiohttp.ClientConnectorError:
            return "no connection"
        except FailedError as error:
            return self._note("failed", ask, str(error))
        except (CutError, aiohttp.ClientError, ConnectionError) as error:
            return self._note("cut", ask, f"after {time.monotonic() - started:.1f} s: {error!r}")
        except (ValueError, LookupError, TypeError) as error:
            return self._note("wrong", ask, repr(error))

    async def _ask(self, session: aiohttp.ClientSession, ask: Ask, target: Target) -> Outcome:
        if ask.manner == "leaves" and random.random() < 0.5:
            return await _leave_early(session, ask, target)
        async with target.post(session, ask) as answer:
            if ask.manner == "leaves" and answer.status == 200:
                await answer.content.read(200)
                answer.close()
                return "left"
            self.statuses[answer.status] += 1
            return await self._read(answer, ask)

    async def _read(self, answer: aiohttp.ClientResponse, ask: Ask) -> Outcome:
        if answer.status != ask.status:
            body = await answer.text()
            if answer.status in REFUSALS:
                if int(answer.headers.get("retry-after", "0")) <= 0:
                    return self._note("wrong", ask, f"no Retry-After: {body}")
                return "spent" if "tokens_per_day" in body else "refused"
            return self._note("failed" if answer.status in (500, 502) else "wrong", ask, f"{answer.status}: {body}")
        if answer.status != 200:
            return "right" if "message" in (await answer.json())["error"] else self._note("wrong", ask, "no message")
        text = await self._streamed(answer, ask) if ask.is_stream else text_of(ask.path, await answer.json())
        is_right = ask.check(text.strip()) if ask.same_as is None else text == self.known[ask.same_as]
        return "right" if is_right else self._note("wrong", ask, f"{text!r}, not {self.known.get(ask.same_as or '')!r}")

    async def _streamed(self, answer: aiohttp.ClientResponse, ask: Ask) -> str:
        try:
            return await _streamed(answer, ask)
        except FailedError as error:
            self.statuses[answer.status] -= 1
            self.statuses[next((status for name, status in STATUSES.items() if f'"{name}"' in str(error)), 500)] += 1
            raise

    def _note(self, outcome: Outcome, ask: Ask, text: str) -> Outcome:
        examples = self.examples.setdefault(outcome, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(f"{ask.kind} {ask.same_as or json.dumps(ask.body)[:200]}: {text[:600]}")
        return outcome


async def _whole(session: aiohttp.ClientSession, ask: Ask, target: Target) -> str:
    async with target.post(session, ask) as answer:
        answer.raise_for_status()
        return text_of(ask.path, await answer.json())


async def _leave_early(session: aiohttp.ClientSession, ask: Ask, target: Target) -> Outcome:
    """Send a request and leave within half a second, whatever has come until then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(random.random() / 2), target.post(session, ask) as answer:
            await answer.read()
    return "left"


async def _streamed(answer: aiohttp.ClientResponse, ask: Ask) -> str:
    """Return the text of a stream, all of whose events came."""
    events: list[Json] = []
    last = ""
    async for line in answer.content:
        if line.startswith(b"data: "):
            last = line[6:].decode().strip()
            if last == "[DONE]":
                break
            events.append(json.loads(last))
            if "error" in events[-1] or events[-1].get("type") in ("error", "response.failed"):
                raise FailedError(last)
            if ask.manner == "slow":
                await asyncio.sleep(SLOW_SECONDS)
    if not any(end in last for end in ENDS[ask.path]):
        raise CutError(last)
    return text_of_stream(ask.path, events)


@dataclass
class Slowloris:
    """Connections that send a header a byte at a time, and never end it."""

    host: str
    port: int
    count: int
    opened: int = 0
    closed: int = 0
    """Those that the server has closed."""

    async def run(self) -> None:
        """Keep `count` of them open until cancelled."""
        await asyncio.gather(*(self._connections() for _ in range(self.count)))

    async def _connections(self) -> None:
        while True:
            try:
                await self._connection()
            except OSError:
                await asyncio.sleep(0.5)  # the server is being started again

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.opened += 1
        try:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
            while not reader.at_eof():
                writer.write(b"X")
                await writer.drain()
                try:
                    async with asyncio.timeout(1):
                        await reader.read(1024)
                except TimeoutError:
                    continue
            self.closed += 1
        finally:
            writer.close()
