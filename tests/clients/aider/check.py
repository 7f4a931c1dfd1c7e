"""aider: one message in its `ask` mode, and an edit of a file in the whole-file format, streamed and not."""

import os
import subprocess
from pathlib import Path

from checks import API_KEY, BASE_URL, MODEL, SAID, SAY, run

EDIT = "Greet. <<say greet.py\n```\nprint('hello')\n``` >>"
OPTIONS = [
    *("--model", f"openai/{MODEL}", "--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings"),
    *("--no-analytics", "--no-show-release-notes", "--no-detect-urls", "--edit-format", "whole", "--no-pretty"),
]


def aider(*arguments: str) -> str:
    environment = {**os.environ, "OPENAI_API_BASE": BASE_URL, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        ["aider", *OPTIONS, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    print(done.stdout, done.stderr)
    return done.stdout


def ask() -> None:
    if SAID not in aider("--chat-mode", "ask", "--message", SAY).replace(SAY, ""):
        raise AssertionError("the answer is not shown")


def edit(*options: str) -> None:
    Path("greet.py").write_text("print('hi')\n")
    aider(*options, "--message", EDIT, "greet.py")
    if "hello" not in Path("greet.py").read_text():
        raise AssertionError("the file is not edited")


def edit_streamed() -> None:
    edit("--stream")


def edit_not_streamed() -> None:
    edit("--no-stream")


run("aider-chat", ask, edit_streamed, edit_not_streamed)
