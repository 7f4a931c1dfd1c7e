"""What a server says of its start."""

import io
import re
import sys

import pytest

from autotool_server.launch.phases import phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_phase_is_a_line_with_its_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("Loading the model", "Loaded the model"):
        assert capsys.readouterr().err == ""
    assert re.fullmatch(r"Loaded the model in \d+\.\d s\.\n", capsys.readouterr().err)


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_a_terminal_shows_what_is_being_done_on_lines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with phase("Loading the model", "Loaded the model"):
        sys.stderr.write("A library warns.\n")
    doing, other, done = terminal.getvalue().splitlines()
    assert (doing, other) == ("Loading the model ...", "A library warns.")
    assert re.fullmatch(r"Loaded the model in \d+\.\d s\.", done)


def test_a_phase_that_fails_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with pytest.raises(KeyError), phase("Loading the model", "Loaded the model"):
        raise KeyError
    assert terminal.getvalue() == "Loading the model ...\n"
