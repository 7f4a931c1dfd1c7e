"""`autotool chat` as a process: through a pipe, and through a pseudo-terminal where keys are pressed."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from support.fake_api import FakeAPI, fake_api

AUTOTOOL = [sys.executable, "-m", "autotool_cli"]
SUMMARY = re.compile(r"long · decided by model · p_long 0\.75 · 7 reasoning \+ 2 content tokens · \d+\.\d s")
ASKED = {"role": "user", "content": "What is 2+2?"}
ANSWERED = {"role": "assistant", "content": "It is 4.", "reasoning_content": "2+2"}


@pytest.fixture
def server() -> Iterator[FakeAPI]:
    with fake_api() as api:
        yield api


def chat_in_pipe(server_url: str, lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*AUTOTOOL, "chat", "--url", server_url, *options]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False, timeout=60)


def test_the_lines_of_a_pipe_are_answered_in_one_conversation(server: FakeAPI) -> None:
    done = chat_in_pipe(server.url, "What is 2+2?\n\nSure?\n", "--mode", "short", "--system", "Be brief.")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("2+2\n\nIt is 4.\n") == 2
    assert len(SUMMARY.findall(done.stdout)) == 2
    assert "\x1b" not in done.stdout
    assert server.bodies[0] == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, ASKED],
        "mode": "short",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert server.bodies[1]["messages"][1:] == [ASKED, ANSWERED, {"role": "user", "content": "Sure?"}]


def test_commands(server: FakeAPI) -> None:
    lines = "a\n/long\nb\n/short\nc\n/auto\nd\n/reset\ne\n/etc/hosts?\n/help\n/nope\n/long x\n/quit\nf\n"
    done = chat_in_pipe(server.url, lines)
    assert [body.get("mode") for body in server.bodies] == [None, "long", "short", "auto", "auto", "auto"]
    assert [len(body["messages"]) for body in server.bodies] == [1, 3, 5, 7, 1, 3]
    assert all(name in done.stdout for name in ("/long  ", "/short", "/auto", "/reset", "/help", "/quit"))
    assert "Unknown command /nope; /help lists the commands." in done.stdout
    assert "/long takes no argument." in done.stdout


def test_control_characters_of_an_answer_are_shown_as_pictures(server: FakeAPI) -> None:
    done = chat_in_pipe(server.url, "escape\n")
    assert "It \u241b[2J\ufffd2J\n" in done.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("refuse", "Send less."),
        ("broken", "The engine died."),
        ("cut", "The server ended the stream before the answer was complete."),
    ],
)
def test_a_failure_in_a_pipe_ends_it_in_one_line(server: FakeAPI, line: str, message: str) -> None:
    done = chat_in_pipe(server.url, f"{line}\nnever asked\n")
    assert (done.returncode, done.stderr) == (1, f"autotool: {message}\n")
    assert len(server.bodies) == 1


def test_no_server() -> None:
    done = chat_in_pipe("http://127.0.0.1:9/v1", "hello\n")
    assert done.returncode == 1
    assert done.stderr.startswith("autotool: Cannot reach http://127.0.0.1:9/v1")
    assert done.stderr.count("\n") == 1


def test_chat_works_with_a_stock_server() -> None:
    with fake_api(with_record=False) as api:
        done = chat_in_pipe(api.url, "What is 2+2?\n", "--model", "tiny")
    assert re.search(r"It is 4\.\n10 tokens · \d+\.\d s\n", done.stdout)


class Screen:
    """The other end of a pseudo-terminal: types keys and waits for text."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def ask(self, line: str) -> None:
        """Type a line once the prompt is there."""
        self.wait_for("> ")
        self.type(f"{line}\r")

    def wait_for(self, text: str, timeout: float = 30) -> None:
        """Read until new output contains the text; later waits look only at what comes after it."""
        deadline = time.monotonic() + timeout
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come; the screen shows {self.text!r}"
            if select.select([self._descriptor], [], [], left)[0]:
                self.text += os.read(self._descriptor, 4096).decode(errors="replace")
        self.text = self.text.partition(text)[2]

    def press_until(self, keys: str, text: str) -> None:
        """Press keys until the text comes, up to ten times."""
        for _ in range(10):
            self.type(keys)
            with suppress(AssertionError):
                return self.wait_for(text, timeout=3)
        raise AssertionError(f"{text!r} did not come; the screen shows {self.text!r}")


@contextmanager
def terminal(server: FakeAPI) -> Iterator[Screen]:
    """Run `autotool chat` with a controlling pseudo-terminal, so that Ctrl-C typed there is a signal."""
    ours, theirs = pty.openpty()
    control = "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    run_command = "runpy.run_module('autotool_cli', run_name='__main__')"
    command = [sys.executable, "-c", control + run_command, "chat", "--url", server.url]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield Screen(ours, process)
        finally:
            process.kill()
            os.close(ours)


def sent(server: FakeAPI) -> list[Any]:
    return server.bodies[-1]["messages"]


def test_ctrl_c_cancels_the_answer_and_keeps_the_session(server: FakeAPI) -> None:
    with terminal(server) as screen:
        screen.ask("What is 2+2?")
        screen.wait_for("content tokens")
        screen.ask("slow")
        screen.wait_for("and and")
        screen.type("\x03")
        screen.wait_for("Cancelled")
        assert server.left.wait(10), "the server still streams to a client that has left"
        screen.ask("Sure?")
        screen.wait_for("content tokens")
        assert sent(server) == [ASKED, ANSWERED, {"role": "user", "content": "Sure?"}]


def test_ctrl_d_exits(server: FakeAPI) -> None:
    with terminal(server) as screen:
        screen.wait_for("> ")
        screen.type("\x04")
        assert screen.process.wait(30) == 0


def test_a_failed_answer_keeps_the_session(server: FakeAPI) -> None:
    with terminal(server) as screen:
        for line, message in (("broken", "The engine died."), ("refuse", "Send less.")):
            screen.ask(line)
            screen.wait_for(message)
        screen.ask("What is 2+2?")
        screen.wait_for("content tokens")
        assert sent(server) == [ASKED]


def test_reasoning_is_dimmed_and_the_prompt_names_the_mode(server: FakeAPI) -> None:
    with terminal(server) as screen:
        screen.ask("/long")
        screen.wait_for("long> ")
        screen.type("What is 2+2?\r")
        screen.wait_for("\x1b[2m2+\x1b[0m\x1b[2m2\x1b[0m")
        screen.wait_for("\r\n\r\nIt is 4.")


def test_ctrl_c_at_the_prompt_drops_the_line(server: FakeAPI) -> None:
    with terminal(server) as screen:
        screen.wait_for("> ")
        screen.type("half a tho")
        screen.wait_for("half a tho")
        # CPython's input() misses a signal in the moment before it waits for keys.
        screen.press_until("\x03", "> ")
        screen.type("What is 2+2?\r")
        screen.wait_for("content tokens")
        assert sent(server) == [ASKED]


def test_ctrl_c_in_a_pipe_exits_without_a_message(server: FakeAPI) -> None:
    command = [*AUTOTOOL, "chat", "--url", server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin
        process.stdin.write("slow\n")
        process.stdin.flush()
        while not server.bodies:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert server.left.wait(10)
