"""What the latest answers of a server took, by mode and set of tools: what a quote is of. It is kept in memory alone."""

import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autotool_core.modes import ResolvedMode
from autotool_server.conversation.choice import Choice, Generation
from autotool_server.conversation.job import Job
from autotool_server.conversation.turn import Turn

SIZE = 200
"""The latest answers that are kept, for each mode and for each set of tools in each mode."""
MAX_TOOL_SETS = 128
"""Sets of tools, in either mode, that are kept; the one that was not used for the longest time is dropped."""
MIN_ANSWERS = 19
"""Answers from which on their quantiles 5 and 95 are among them (`conversation.quantiles`)."""

Level = Literal["tools", "mode", "none"]
"""What the answers of a sample share: mode and set of tools, the mode alone, or nothing, where there is no answer."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one answer took."""

    tokens: int
    """Every decoded token, of all turns of its tool loop."""
    seconds: float
    """Wall time from the arrival of the request to the last token, the wait in the queue included."""

    def within(self, limit: int | None) -> "Taken":
        """Return what it would have taken with a limit of tokens; its seconds are cut in proportion."""
        if limit is None or self.tokens <= limit:
            return self
        return Taken(limit, self.seconds * limit / self.tokens)


@dataclass(frozen=True, slots=True)
class Sample:
    """Answers like the one that is asked about."""

    level: Level = "none"
    answers: Sequence[Taken] = ()


class History:
    """The latest answers of one server, whoever asked for them. It is used from one thread."""

    def __init__(self) -> None:
        self._of_mode = {mode: deque[Taken](maxlen=SIZE) for mode in ResolvedMode}
        self._of_tools = OrderedDict[tuple[ResolvedMode, str], deque[Taken]]()

    def note(self, job: Job) -> None:
        """Keep what each choice of a job that has ended well took. One without a mode, such as plain text, is left out."""
        for choice in job.choices:
            first = choice.turns[0]
            if isinstance(first, Turn) and (taken := _taken(choice, job.arrived_at)) is not None:
                self._of_mode[first.resolved].append(taken)
                self._latest_of((first.resolved, _set_of(first.request.tools))).append(taken)

    def sample(self, mode: ResolvedMode, tools: Sequence[Mapping[str, Any]]) -> Sample:
        """Return the answers in a mode with the same set of tools; where these are too few, those in the mode."""
        of_tools = self._of_tools.get((mode, _set_of(tools)), ())
        of_mode = self._of_mode[mode]
        if len(of_tools) >= MIN_ANSWERS or (of_tools and len(of_tools) == len(of_mode)):
            return Sample("tools", tuple(of_tools))
        return Sample("mode", tuple(of_mode)) if of_mode else Sample()

    def _latest_of(self, key: tuple[ResolvedMode, str]) -> deque[Taken]:
        latest = self._of_tools.setdefault(key, deque(maxlen=SIZE))
        self._of_tools.move_to_end(key)
        if len(self._of_tools) > MAX_TOOL_SETS:
            self._of_tools.popitem(last=False)
        return latest


def _taken(choice: Choice[Generation], arrived_at: float) -> Taken | None:
    ended_at = choice.turns[-1].ledger.last_token_at
    if ended_at is None:
        return None
    return Taken(sum(turn.ledger.completion_tokens for turn in choice.turns), ended_at - arrived_at)


def _set_of(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of the names of tools, in any order."""
    names = sorted(tool["function"]["name"] for tool in tools)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
