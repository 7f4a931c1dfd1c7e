"""`autotool chat` in a pipe, where every line is a message."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_api import FakeAPI, fake_api
from support.fake_tools import ASKING

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
    done = chat_in_pipe(server.url, "a\n/long\nb\n/short\nc\n/auto\nd\n/reset\ne\n/etc/hosts?\n/help\n/quit\nf\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert [body.get("mode") for body in server.bodies] == [None, "long", "short", "auto", "auto", "auto"]
    assert [len(body["messages"]) for body in server.bodies] == [1, 3, 5, 7, 1, 3]
    assert all(name in done.stdout for name in ("/long  ", "/short", "/auto", "/reset", "/help", "/quit"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/nope", "Unknown command /nope; /help lists the commands."),
        ("/long x", "/long takes no argument."),
        ("/bias x", "/bias takes a number, such as 1.5, or off."),
        ("/budget -1", "/budget takes a number of tokens, such as 256, or off."),
        ("/tools nope", "The server has no tool 'nope'. There are: none."),
    ],
)
def test_a_failed_command_in_a_pipe_ends_it_in_one_line(server: FakeAPI, line: str, message: str) -> None:
    done = chat_in_pipe(server.url, f"{line}\nnever asked\n")
    assert (done.returncode, done.stderr) == (1, f"autotool: {message}\n")
    assert not server.bodies


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


def test_settings(server: FakeAPI) -> None:
    lines = "/bias 1.5\n/budget 64\n/system Be brief.\na\n/bias off\n/budget off\n/system off\nb\n/bias\n"
    done = chat_in_pipe(server.url, lines)
    first, second = server.bodies
    assert (first["reasoning_bias"], first["max_reasoning_tokens"]) == (1.5, 64)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not {"reasoning_bias", "max_reasoning_tokens"} & second.keys()
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert all(said in done.stdout for said in ("Bias: 1.5.", "Bias: not set."))


def test_settings_are_options_too(server: FakeAPI) -> None:
    chat_in_pipe(server.url, "a\n", "--bias", "-2", "--budget", "0")
    assert (server.bodies[0]["reasoning_bias"], server.bodies[0]["max_reasoning_tokens"]) == (-2, 0)


@pytest.mark.parametrize("shorten", [lambda url: url.removesuffix("/v1"), lambda url: url.removeprefix("http://"), str])
def test_a_url_may_lack_its_scheme_and_version(server: FakeAPI, shorten: Callable[[str], str]) -> None:
    assert "It is 4." in chat_in_pipe(shorten(server.url), "What is 2+2?\n").stdout


def test_save(server: FakeAPI, tmp_path: Path) -> None:
    text, data = tmp_path / "chat.md", tmp_path / "chat.json"
    done = chat_in_pipe(server.url, f"What is 2+2?\n/save {text}\n/save {data}\n/save {text}\n")
    assert text.read_text() == "# Chat with tiny\n\n## User\n\nWhat is 2+2?\n\n## Assistant\n\n> 2+2\n\nIt is 4.\n"
    assert json.loads(data.read_text()) == {"model": "tiny", "messages": [ASKED, ANSWERED]}
    assert f"Saved to {text}." in done.stdout
    assert (done.returncode, done.stderr) == (1, f"autotool: {text} exists; give another name.\n")
    assert f"{tmp_path}/no/x cannot be written" in chat_in_pipe(server.url, f"/save {tmp_path}/no/x\n").stderr


def test_bytes_that_are_not_utf_8_are_replaced(server: FakeAPI) -> None:
    command = [*AUTOTOOL, "chat", "--url", server.url]
    subprocess.run(command, input=b"caf\xe9\n", capture_output=True, check=True, timeout=60)
    assert server.bodies[0]["messages"][-1]["content"] == "caf\ufffd"


def test_server_tools_are_offered_and_a_call_is_a_line() -> None:
    with fake_api(with_tools=True) as api:
        done = chat_in_pipe(api.url, "weather\nSure?\n/tools off\na\n/tools weath*\nb\n/tools nope\n")
    no_tool = "The server has no tool 'nope'. There are: shop.order, weather."
    assert (done.returncode, done.stderr) == (1, f"autotool: {no_tool}\n")
    called = 'weather(city="Oslo") → {"sky": "rain", "degrees": 4} · 0.0 s'
    assert f"2+2\n{called}\n\nIt is 4.\n" in done.stdout
    offered = [[tool["name"] for tool in body.get("tools", ())] for body in api.bodies]
    assert offered == [["shop.order", "weather"], ["shop.order", "weather"], [], ["weather"]]
    assert "shop.order  off, asks you · Orders something.\n" in done.stdout
    assert "files.read  disabled: The server changed it.\n" in done.stdout


def test_nothing_is_approved_in_a_pipe() -> None:
    with fake_api(with_tools=True) as api:
        done = chat_in_pipe(api.url, "order\nSure?\n")
    assert 'Run shop.order(sku="A100", quantity=3)?\nNot run: approval needs a terminal.\n' in done.stdout
    assert api.bodies[1]["tool_approvals"] == {"call_1": False}
    assert api.bodies[1]["messages"] == [{"role": "user", "content": "order"}, *ASKING]
    assert [message["role"] for message in api.bodies[2]["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert "tool_approvals" not in api.bodies[2]


def test_no_server() -> None:
    done = chat_in_pipe("http://127.0.0.1:9/v1", "hello\n")
    assert done.returncode == 1
    assert done.stderr.startswith("autotool: Cannot reach http://127.0.0.1:9/v1")
    assert done.stderr.count("\n") == 1


def test_a_web_page_is_no_server(server: FakeAPI) -> None:
    server.page = "<html>"
    done = chat_in_pipe(server.url, "hello\n")
    message = f"{server.url}/ does not speak OpenAI's API: name the URL that ends in /v1."
    assert (done.returncode, done.stderr) == (1, f"autotool: {message}\n")


def test_the_mode_of_a_models_name_is_that_of_the_first_messages(server: FakeAPI) -> None:
    chat_in_pipe(server.url, "a\n/short\nb\n", "--model", "tiny:long")
    assert [(body["model"], body["mode"]) for body in server.bodies] == [("tiny", "long"), ("tiny", "short")]


def test_two_modes_that_disagree_are_refused(server: FakeAPI) -> None:
    done = chat_in_pipe(server.url, "a\n", "--model", "tiny:long", "--mode", "short")
    message = "--mode asks for short, and the name of --model for long: give only one of them."
    assert (done.returncode, done.stderr) == (1, f"autotool: {message}\n")


def test_chat_works_with_a_stock_server() -> None:
    with fake_api(with_record=False) as api:
        done = chat_in_pipe(api.url, "What is 2+2?\n", "--model", "tiny")
    assert re.search(r"It is 4\.\n10 tokens · \d+\.\d s\n", done.stdout)


def test_ctrl_c_in_a_pipe_exits_without_a_message(server: FakeAPI) -> None:
    # The tests may run where it is ignored.
    start = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [
        sys.executable,
        "-c",
        f"{start}runpy.run_module('autotool_cli', run_name='__main__')",
        "chat",
        "--url",
        server.url,
    ]
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
