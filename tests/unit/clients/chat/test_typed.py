"""`autotool chat` at a terminal: keys, history, approval, and what stops an answer."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_api import FakeAPI, fake_api
from support.typed import typing_at

ASKED = {"role": "user", "content": "What is 2+2?"}
ANSWERED = {"role": "assistant", "content": "It is 4.", "reasoning_content": "2+2"}
DEFAULT = "default> "
"""The prompt before a server that does not tell its default mode has answered."""


@pytest.fixture
def server() -> Iterator[FakeAPI]:
    with fake_api(with_tools=True) as api:
        yield api


def sent(server: FakeAPI) -> list[Any]:
    return server.bodies[-1]["messages"]


def test_the_prompt_shows_the_mode_that_holds(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("/long", DEFAULT)
        typist.ask("/short", "long> ")
        typist.wait_for_prompt("short> ")
    with typing_at(server.url, tmp_path, "--model", "tiny:long") as typist:
        typist.wait_for_prompt("long> ")
    server.default_mode = "auto"
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt("auto> ")


def test_an_answer_tells_the_mode_of_a_server_that_does_not(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt("auto> ")
        assert b"\x1b[2m2+2\x1b[0m" in typist.written, "reasoning is dimmed"
        summary = r"\n2\+2\n\nIt is 4\.\nlong · decided by model · p_long 0\.75 · 7 reasoning \+ 2 content tokens · \d+\.\d s\n"
        assert re.search(summary, typist.screen.text())


def test_ctrl_c_stops_the_answer_and_keeps_the_session(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("What is 2+2?", DEFAULT)
        typist.ask("slow")
        typist.wait_for("and and")
        typist.type("\x03")
        typist.wait_for("Stopped; this message and its answer are forgotten.")
        assert server.left.wait(60), "the server still streams to a client that has left"
        typist.ask("Sure?")
        typist.wait_for_prompt()
        assert sent(server) == [ASKED, ANSWERED, {"role": "user", "content": "Sure?"}]


def test_ctrl_c_at_the_prompt_clears_the_line(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("half a tho")
        typist.wait_for("half a tho")
        typist.type("\x03")
        typist.wait_for("Ctrl-C again leaves.")
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt()
        assert sent(server) == [ASKED]


def test_ctrl_c_twice_leaves(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("\x03")
        typist.wait_for("Ctrl-C again leaves.")
        typist.wait_for_prompt(DEFAULT)
        typist.type("\x03")
        assert typist.wait_for_exit() == 0


def test_a_line_between_two_ctrl_c_stays(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        for _ in range(3):
            typist.wait_for_prompt(DEFAULT)
            typist.type("x")
            typist.wait(lambda: typist.line() == f"{DEFAULT}x", "the key")
            typist.type("\x03")
        typist.wait_for_prompt(DEFAULT)
        assert typist.process.poll() is None


@pytest.mark.parametrize("leave", ["\x04", "/quit\r"])
def test_leaving(server: FakeAPI, tmp_path: Path, leave: str) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type(leave)
        assert typist.wait_for_exit() == 0


def test_a_pasted_block_is_one_message(server: FakeAPI, tmp_path: Path) -> None:
    block = "Sort these:\n  b\n\n  a\n/long"
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.paste(block)
        typist.wait_for("/long")
        assert not server.bodies
        typist.type("\r")
        typist.wait_for_prompt()
        assert sent(server) == [{"role": "user", "content": block}]


def test_alt_enter_begins_a_new_line(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("one\x1b\rtwo\r")
        typist.wait_for_prompt()
        assert sent(server) == [{"role": "user", "content": "one\ntwo"}]


def test_keys_during_an_answer_are_not_shown_in_it(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("slow", DEFAULT)
        typist.wait_for("and and")
        typist.paste("typed\nahead")
        seen = typist.screen.text().count("and ")
        typist.wait(lambda: typist.screen.text().count("and ") > seen + 50, "more of the answer")
        assert not {"typed", "ahead"} & set(re.findall("[a-z]+", typist.screen.text()))
        typist.type("\x03")  # Ctrl-C drops what was typed before it, as in a shell
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt()
        assert sent(server) == [ASKED]


def test_a_block_that_is_pasted_during_an_answer_is_the_next_message(server: FakeAPI, tmp_path: Path) -> None:
    server.document = "word " * 500
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("document", DEFAULT)
        typist.wait_for("word word")
        typist.paste("typed\nahead")
        typist.type("\r")
        typist.wait_for("auto> typed\n      ahead\n")
        typist.wait_for_prompt()
        assert sent(server)[-1] == {"role": "user", "content": "typed\nahead"}
        assert len(server.bodies) == 2


def test_the_history_lasts_and_only_the_user_reads_it(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("What is 2+2?", DEFAULT)
        typist.ask("/quit")
        assert typist.wait_for_exit() == 0
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("\x1b[A\x1b[A")  # Up, twice
        typist.wait(lambda: typist.line() == f"{DEFAULT}What is 2+2?", "the earlier message")
        typist.type("\r")
        typist.wait_for_prompt()
    assert [body["messages"] for body in server.bodies] == [[ASKED], [ASKED]]
    assert stat.S_IMODE((tmp_path / "autotool" / "chat_history").stat().st_mode) == 0o600


def test_a_history_that_cannot_be_written_does_not_stop_the_chat(server: FakeAPI, tmp_path: Path) -> None:
    (tmp_path / "autotool").write_text("a file in the place of the folder")
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt()


def test_tab_completes_commands_and_tools(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("/to\t we\t\r")
        typist.wait_for("/tools weather")
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt()
        assert [tool["name"] for tool in server.bodies[-1]["tools"]] == ["weather"]


@pytest.mark.parametrize(("typed", "approved", "answer"), [("y", True, "It is ordered."), ("No", False, "Then not.")])
def test_a_call_that_needs_approval_asks(server: FakeAPI, tmp_path: Path, typed: str, approved: bool, answer: str) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("order", DEFAULT)
        typist.wait_for('Run shop.order(sku="A100", quantity=3)?')
        typist.ask("perhaps", "y/n> ")
        typist.ask("", "y/n> ")
        typist.ask(typed, "y/n> ")
        typist.wait_for(answer)
        typist.ask("Sure?")
        typist.wait_for_prompt()
    outcome = "→ order 7, on its way" if approved else "✗ refused: The user did not approve this call."
    assert f'shop.order(sku="A100", quantity=3) {outcome} · 0.2 s\n\n{answer}\n' in typist.screen.text()
    assert server.bodies[1]["tool_approvals"] == {"call_1": approved}
    assert [message["role"] for message in sent(server)] == ["user", "assistant", "tool", "assistant", "user"]


def test_what_was_typed_before_the_question_approves_nothing(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.wait_for_prompt(DEFAULT)
        typist.type("order\ry\r")
        typist.ask("n", "y/n> ")
        typist.wait_for("Then not.")


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_ctrl_c_and_ctrl_d_at_the_question_run_nothing_and_keep_the_session(server: FakeAPI, tmp_path: Path, key: str) -> None:
    with typing_at(server.url, tmp_path) as typist:
        typist.ask("order", DEFAULT)
        typist.wait_for_prompt("y/n> ")
        typist.type(key)
        typist.wait_for("Stopped;")
        typist.wait_for_prompt(DEFAULT)
        assert len(server.bodies) == 1


def test_a_failed_answer_keeps_the_session(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path) as typist:
        for line, message in (
            ("broken", "The engine died."),
            ("refuse", "Send less."),
            ("cut", "before the answer was complete"),
        ):
            typist.ask(line, DEFAULT)
            typist.wait_for(message)
        typist.ask("/nope", DEFAULT)
        typist.wait_for("Unknown command /nope; /help lists the commands.")
        typist.ask("What is 2+2?", DEFAULT)
        typist.wait_for_prompt()
        assert sent(server) == [ASKED]


def test_help_lists_every_command(server: FakeAPI, tmp_path: Path) -> None:
    with typing_at(server.url, tmp_path, columns=60) as typist:
        typist.ask("/help", DEFAULT)
        typist.wait_for_prompt(DEFAULT)
    for name in ("/long", "/bias", "/budget", "/system", "/tools", "/save", "/reset", "/help", "/quit", "Alt+Enter"):
        assert f"\n{name}" in typist.screen.text()


def test_a_missing_package_is_one_sentence(server: FakeAPI, tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ModuleNotFoundError(name='prompt_toolkit')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with typing_at(server.url, tmp_path, columns=200, variables={"PYTHONPATH": path}) as typist:
        assert typist.wait_for_exit() == 1
    fix = "run `pip install -e '.[chat]'` in the checkout of AutoTool Server."
    assert typist.screen.text() == f"autotool: `autotool chat` in a terminal needs the package prompt_toolkit: {fix}"
