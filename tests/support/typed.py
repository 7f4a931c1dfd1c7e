"""`autotool chat` at a terminal: a pseudo-terminal whose other end is an emulator (pyte) that shows what a person sees."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

START = """
import fcntl, runpy, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C typed there is a signal
runpy.run_module("autotool_cli", run_name="__main__")
"""
PASTE = "\x1b[200~{}\x1b[201~"
"""What a terminal sends for a pasted text, if it has been asked to mark it."""
MARKS_PASTES = 2004 << 5
"""The mode in which it marks them, as pyte numbers private modes."""

PROMPT = re.compile(r"^(?:default|auto|long|short|y/n)>(?: |$)", re.MULTILINE)


class Emulator(pyte.HistoryScreen):
    """A screen of `columns` by `rows` and all lines that have scrolled off it."""

    def __init__(self, columns: int, rows: int, reply: Callable[[str], object] = lambda _: None) -> None:
        self._reply = reply
        super().__init__(columns, rows, history=100_000)

    def write_process_input(self, data: str) -> None:
        """Send what a terminal answers, such as where its cursor is."""
        self._reply(data)

    def printed(self) -> list[str]:
        """Return every line that was printed, without its trailing spaces."""
        gone = ["".join(line[column].data for column in range(self.columns)) for line in self.history.top]
        return [line.rstrip() for line in (*gone, *self.display)]

    def text(self) -> str:
        return "\n".join(self.printed()).rstrip()


class Typist:
    """A person at the terminal: types keys and waits for what the screen shows."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes], columns: int, rows: int) -> None:
        self._descriptor = descriptor
        self.process = process
        self.screen = Emulator(columns, rows, self.type)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        """Everything that the chat has written."""
        self._seen_prompts = 0

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def paste(self, text: str) -> None:
        """Paste a text as terminals do: marked if the chat has asked for that."""
        keys = text.replace("\n", "\r")
        self.type(PASTE.format(keys) if MARKS_PASTES in self.screen.mode else keys)

    def ask(self, line: str, prompt: str = "auto> ") -> None:
        """Type a line at the prompt."""
        self.wait_for_prompt(prompt)
        self.type(f"{line}\r")

    def wait_for_prompt(self, prompt: str = "auto> ") -> None:
        """Wait for another prompt than the last one that was waited for."""
        self.wait(lambda: self._num_prompts() > self._seen_prompts and self._is_at(prompt), f"the prompt {prompt}")
        self._seen_prompts = self._num_prompts()

    def _num_prompts(self) -> int:
        return len(PROMPT.findall(self.screen.text()))

    def _is_at(self, prompt: str) -> bool:
        return self.line() == prompt.rstrip() and self.screen.cursor.x == len(prompt)

    def line(self) -> str:
        """Return the line that the cursor is on."""
        return self.screen.display[self.screen.cursor.y].rstrip()

    def wait_for(self, text: str) -> None:
        self.wait(lambda: text in self.screen.text(), repr(text))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Read what the chat writes until the condition holds; fails after some time."""
        until = time.monotonic() + 60
        while not condition():
            left = until - time.monotonic()
            assert left > 0, f"{what} did not come; the screen shows:\n{self.screen.text()}"
            self._read(left)

    def wait_for_exit(self) -> int:
        """Read to the end and return the exit code."""
        self.wait(lambda: not self._read(1.0), "the end")
        return self.process.wait(60)

    def _read(self, timeout: float) -> bool:
        """Read what has come; return whether more can."""
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def typing_at(
    url: str, home: Path, *options: str, columns: int = 100, rows: int = 30, variables: Mapping[str, str] | None = None
) -> Iterator[Typist]:
    """Run `autotool chat` in a terminal of this size; its history is below the folder `home`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    environment = kept | {"TERM": "xterm-256color", "XDG_STATE_HOME": str(home)} | dict(variables or {})
    command = [sys.executable, "-c", START, "chat", "--url", url, *options]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield Typist(ours, process, columns, rows)
        finally:
            process.kill()
            os.close(ours)
