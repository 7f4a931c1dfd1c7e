"""Messages that are typed at a terminal: editing, history, pasted blocks. Needs the extra `chat`."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

if sys.platform != "win32":
    import termios

YES, NO = frozenset({"y", "yes"}), frozenset({"n", "no"})
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
"""Whether the terminal marks the beginning and the end of what is pasted."""

KEYS = KeyBindings()


@KEYS.add("escape", "enter")
def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


class CommandCompleter(Completer):
    """Completes names of commands, and those of tools after `/tools`."""

    def __init__(self, commands: Sequence[str], tools: Sequence[str]) -> None:
        self._commands = commands
        self._tools = tools

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        if before.startswith("/tools "):
            names = self._tools
        else:
            names = self._commands if before.startswith("/") and word == before else ()
        yield from (Completion(name, start_position=-len(word)) for name in names if name.startswith(word))


class Keyboard:
    """Reads messages at a terminal."""

    def __init__(self, completer: Completer, hint: Callable[[str], None]) -> None:
        self._hint = hint
        self._interrupted = False
        self._messages: PromptSession[str] = PromptSession(
            history=_history(history_file()),
            completer=completer,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=KEYS,
            prompt_continuation=lambda width, _line, _wrapped: " " * width,
        )
        self._approvals: PromptSession[str] = PromptSession(history=InMemoryHistory())

    def read(self, prompt: str) -> str:
        """Return the next message; it may have several lines. Raises EOFError at Ctrl-D, and at Ctrl-C twice in a row."""
        while True:
            try:
                text = self._messages.prompt(prompt)
            except KeyboardInterrupt:
                self._clear_line()
            else:
                self._interrupted = False
                return _well_formed(text)

    def _clear_line(self) -> None:
        if self._interrupted and not self._messages.default_buffer.text:
            raise EOFError
        self._interrupted = True
        self._hint("Ctrl-C again leaves.")

    def confirm(self) -> bool:
        """Return whether the user says yes. What was typed before the question counts for nothing.

        Raises KeyboardInterrupt at Ctrl-C, and at Ctrl-D, which leaves the question and not the chat.
        """
        clear_typeahead(self._approvals.input)
        if sys.platform != "win32":
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        try:
            while (answer := self._approvals.prompt("y/n> ").strip().lower()) not in YES | NO:
                pass
        except EOFError:
            raise KeyboardInterrupt from None
        return answer in YES

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Keep typed keys for the next prompt without showing them; Ctrl-C is a signal as ever."""
        if sys.platform == "win32":
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        quiet = termios.tcgetattr(sys.stdin)
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
        sys.stdout.write(PASTE_ON)
        sys.stdout.flush()
        try:
            yield
        finally:
            sys.stdout.write(PASTE_OFF)
            sys.stdout.flush()
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class MessageHistory(FileHistory):
    """Messages of all sessions, in a file."""

    def store_string(self, string: str) -> None:
        # The chat goes on without a history if the disk is full.
        with contextlib.suppress(OSError):
            super().store_string(_well_formed(string))


def history_file() -> Path:
    """Return the file of the history, in the user's folder for state (XDG; %LOCALAPPDATA% on Windows)."""
    if folder := os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(folder) / "autotool" / "chat_history"
    return Path.home() / ".local" / "state" / "autotool" / "chat_history"


def _history(path: Path) -> History:
    """Return the history of the file, which only the user can read; one in memory if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("ab"):
            return MessageHistory(path)
    except OSError:
        return InMemoryHistory()


def _well_formed(text: str) -> str:
    """Return the text without halves of surrogate pairs, which stand for typed bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
