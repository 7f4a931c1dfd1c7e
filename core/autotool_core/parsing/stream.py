"""The state machine that parses a turn, at once or in pieces, into reasoning, content and tool calls.

    [whitespace] <think> REASONING </think> CONTENT <tool_call> TOOL_CALL </tool_call> CONTENT ...

These rules hold in any chunking:

- The section in which a turn begins follows from its response prefix, which the same machine reads. Without one, a think
  block that the model opens itself at the very start (after whitespace only) is reasoning; a later open marker, and a
  close marker outside the block, are content.
- Inside the block everything up to the close marker is reasoning, tool-call markers included. The newlines right
  behind the open marker, and around the close marker, are format; spaces there are text, so that indented content is kept.
  A turn that ends inside the block keeps the newlines at its end.
- Without tools, everything behind the block is content. With tools, an opener of the profile's tool format begins a call,
  and the whitespace around calls (before the first, between two, after the last) is format.
- A block that turns out to be no call is content, with its markers and the whitespace around it, up to the first character
  that no call has; reading goes on with that character. A call that breaks after ToolCallStart, or is cut by the end of
  the turn, gets no ToolCallEnd: the events that it sent stand, and text behind a break is content, from the character
  that broke it.
- With `drops_stray_markers` of the profile, a marker that would be content is left out of it; the text around it stays. The
  same holds for a format's headers, between which an answer stands, also for one that the end of the turn cuts. A profile may
  name texts that open the block again.
- A call is complete with its body (see the modules of `tool_formats`): its close marker may be missing, and if other text
  follows instead of it, that text is content. The beginning of a close marker, cut by the end of the turn, is dropped.
  The same holds for the other markers that may stand behind a turn's calls. Behind a call the format's joint begins another
  one.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta
from autotool_core.parsing.markers import WHITESPACE, MarkerNext, Passage
from autotool_core.profile import Profile
from autotool_core.tool_formats.base import CallBody

# Reading copies the rest of a piece behind each marker; small pieces keep the time linear for a long text full of markers.
_PIECE = 4096


class Section(StrEnum):
    """The sections of a turn."""

    REASONING = "reasoning"
    CONTENT = "content"
    TOOL_CALL = "tool_call"


class TurnParser:
    """Parses one turn of a model with `profile`.

    `prefix`: the response prefix, including the part that the chat template writes; it makes no events.
    `tools`: OpenAI function tools; without any, tool calls are not parsed.
    """

    def __init__(self, profile: Profile, prefix: str = "", tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self._parameters: dict[str, Mapping[str, Any]] = {
            tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools
        }
        self._profile = profile
        self._openers = profile.tool_format.openers if tools else ()
        self._reopeners = profile.think.reopen if profile.think is not None else ()
        self._droppable = (*profile.tool_format.headers, *(profile.markers if profile.drops_stray_markers else ()))
        self._strays = tuple(marker for marker in self._droppable if marker not in (*self._openers, *self._reopeners))
        self._events: list[Event] = []
        self._calls = 0
        self.left_out: list[tuple[int, int]] = []
        """Beginning and end of each stray marker that the last `feed` left out, as positions in the text read."""
        self.position = 0
        """Number of characters read, those of the prefix included."""
        self._begin()
        self.feed(prefix)
        self._discard_held_text()

    @property
    def section(self) -> Section:
        """The section of the next character; a call extends from the end of its opener to the end of its close marker."""
        return self._section

    @property
    def held(self) -> int:
        """Number of the last characters that are not settled and may become content, as those of an open call may.

        Characters in `left_out` are not counted.
        """
        if self._read == self._read_start:
            return self._start.held
        if self._section is Section.REASONING:
            return 0
        call = self._call_length if self._section is Section.TOOL_CALL else 0
        return self._passage.held + call

    def feed(self, text: str) -> list[Event]:
        """Read on; return the events that are settled now."""
        self.left_out = []
        if self._in_passage and self._passage.passes(text):
            self.position += len(text)
            return [self._delta(text)]
        self._events = []
        for start in range(0, len(text), _PIECE):
            rest = text[start : start + _PIECE]
            self.position += len(rest)
            while rest:
                rest = self._read(rest)
        return self._events

    def finish(self) -> list[Event]:
        """End the turn; return the events of the text that was held back."""
        self._events = []
        if self._read == self._read_start:
            self._enter_content()
            self._read_passage(self._start.flush())
        elif self._read == self._read_call and not self._body.started:
            if self._is_header("".join(self._raw)):
                self._enter(Section.CONTENT, self._read_passage)
            else:
                self._emit_as_content("")
        if self._in_passage:
            self._emit(self._passage.flush(without_beginning=self._is_header(self._passage.beginning)))
        return self._events

    def _is_header(self, text: str) -> bool:
        """Return whether a text that the turn's end cuts begins a header, of an answer or a call, and is no text then."""
        tool_format = self._profile.tool_format
        return bool(tool_format.headers) and text.startswith(tool_format.markers)

    def _begin(self) -> None:
        self._enter_content()
        if self._profile.think is not None:
            self._start = MarkerNext(self._profile.think.open)
            self._enter(Section.CONTENT, self._read_start)

    def _discard_held_text(self) -> None:
        """Discard held text of the response prefix, so that it does not become text of the turn."""
        self._passage.flush()
        if self._read == self._read_start:
            self._begin()

    def _enter(self, section: Section, read: Callable[[str], str]) -> None:
        self._section = section
        self._read = read
        self._in_passage = read == self._read_passage
        self._delta = ReasoningDelta if section is Section.REASONING else ContentDelta

    def _enter_reasoning(self, close: str) -> None:
        self._passage = Passage(close, lead="\n", trail="\n")
        self._enter(Section.REASONING, self._read_passage)

    def _enter_content(self, lead: str = "") -> None:
        self._passage = Passage(
            *self._reopeners, *self._openers, *self._strays, lead=lead, trail=WHITESPACE if self._openers else ""
        )
        self._enter(Section.CONTENT, self._read_passage)

    def _enter_call(self, opener: str) -> None:
        self._raw = [] if opener in self._droppable else [opener]
        self._call_length = sum(map(len, self._raw))
        self._body: CallBody = self._profile.tool_format.call_body(self._calls, self._parameters, opener)
        self._enter(Section.TOOL_CALL, self._read_call)

    def _read_start(self, text: str) -> str:
        lookahead = self._start.feed(text)
        if lookahead is None:
            return ""
        marker, rest = lookahead
        if marker and self._profile.think is not None:
            self._enter_reasoning(self._profile.think.close)
            return rest
        self._enter_content()
        return self._start.space + rest

    def _read_passage(self, text: str) -> str:
        settled, marker, rest = self._passage.feed(text)
        self._emit(settled)
        if marker and self._section is Section.CONTENT and marker in self._droppable:
            end = self.position - len(rest)
            self.left_out.append((end - len(marker), end))
        if marker and self._section is Section.REASONING:
            self._enter_content(lead="\n")
        elif marker in self._reopeners and self._profile.think is not None:
            self._enter_reasoning(self._profile.think.close)
        elif marker in self._strays:
            self._emit(self._passage.flush())
        elif marker:
            self._enter_call(marker)
        return rest

    def _read_call(self, text: str) -> str:
        self._call_length += len(text)
        if not self._body.started:
            self._raw.append(text)
        events, rest = self._body.feed(text)
        self._events += events
        if rest is None:
            return ""
        self._calls += self._body.started
        if self._body.complete:
            tool_format = self._profile.tool_format
            self._expect_close(tool_format.closers, tool_format.joint)
        elif self._body.started:
            self._enter_content()
        else:
            self._emit_as_content(rest)
        return rest

    def _expect_close(self, closers: Sequence[str], joint: str) -> None:
        """Expect one of the markers that are left of those behind a turn's last call, or the joint in front of another one."""
        expected = [marker for marker in (*closers, joint) if marker]
        self._closers, self._close = closers, MarkerNext(*expected)
        if expected:
            self._enter(Section.TOOL_CALL, self._read_close)
        else:
            self._enter_content(lead=WHITESPACE)

    def _read_close(self, text: str) -> str:
        self._call_length += len(text)
        lookahead = self._close.feed(text)
        if lookahead is None:
            return ""
        marker, rest = lookahead
        tool_format = self._profile.tool_format
        if marker in self._closers:
            left = self._closers[self._closers.index(marker) + 1 :]
            self._expect_close(left, tool_format.joint if marker == tool_format.close else "")
        elif marker:
            self._enter_call(marker)
        else:
            self._enter_content()
        return rest

    def _emit_as_content(self, rest: str) -> None:
        """Emit a block that is no call as content, up to `rest`, behind the text that the passage before it still holds."""
        raw = "".join(self._raw)
        self._enter(Section.CONTENT, self._read_passage)
        self._emit(self._passage.settle(raw[: len(raw) - len(rest)]))

    def _emit(self, text: str) -> None:
        if text:
            self._events.append(self._delta(text))
