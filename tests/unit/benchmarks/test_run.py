"""Runs of the benchmark against the real server over a scripted engine."""

import asyncio
import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from rich.console import Console
from support import harness_cost
from support.bench_runs import row as bench_row
from support.fake_api import fake_api
from support.serving import Running, running, scripted
from typer.testing import CliRunner

from autotool_bench import cli, items, rows
from autotool_bench.manifest import Manifest, locked, open_run
from autotool_bench.progress import ModeBars, Tally, progress_bars
from autotool_bench.run import SuiteRun, sample_items
from autotool_bench.suites import load_suite
from autotool_bench.suites.base import Reply, score_gold
from autotool_bench.target import Target, UnansweredError, mode_fields
from autotool_client.discovery import find_model
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch
from autotool_training.data.overlap import read_texts

CLI = [sys.executable, "-c", "from autotool_cli.main import main; main()", "bench", "run", "--suite", "graded"]
CALL = '<tool_call>\n{"name": "order_fruit", "arguments": {"fruit": "figs", "pieces": 3, "day": "Monday"}}\n</tool_call>'


def manifest(**changes: Any) -> Manifest:
    settings = {
        "suite": "graded",
        "url": "http://localhost/v1",
        "model": "tested",
        "modes": ("auto", "long", "short"),
        "categories": ("level-1", "level-2"),
        "limit": 10,
        "seed": 0,
        "request": {"max_completion_tokens": 200},
        "switch": "mode",
        "label": None,
        "parameters": None,
        "directory": None,
        "concurrency": 8,
        "timeout": 60.0,
    }
    return Manifest(**{**settings, **changes})


async def attempt_all(server: Running, folder: Path, **changes: Any) -> list[dict[str, Any]]:
    settings = manifest(**changes)
    open_run(folder, settings)
    target = Target(server.client, settings.model or "", ModeSwitch(settings.switch), settings.request)
    with progress_bars(Console(quiet=True)) as progress:
        await SuiteRun(load_suite("graded", settings.categories), target, settings, folder, progress).attempt_all()
    return [*rows.read(folder)]


def keys(stored: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((row["id"], row["mode"]) for row in stored)


async def test_every_item_has_one_row_per_mode(tmp_path: Path) -> None:
    async with running(scripted("Well.\n</think>\n\n" + CALL)) as server:
        stored = await attempt_all(server, tmp_path)
        assert len(set(keys(stored))) == len(stored) == 60
        assert await attempt_all(server, tmp_path) == stored  # nothing is left to do
    assert json.loads((tmp_path / "run.json").read_text())["items"] == 20
    long = next(row for row in stored if row["mode"] == "long")["turns"][0]
    short = next(row for row in stored if row["mode"] == "short")["turns"][0]
    assert long["resolved"] == "long"
    assert long["reasoning_tokens"] + long["content_tokens"] == long["generated_tokens"]
    assert (short["resolved"], short["reasoning_tokens"]) == ("short", 0)
    assert (long["reasoning_truncated"], short["reasoning_truncated"]) == (False, False)
    assert next(row for row in stored if row["mode"] == "auto")["turns"][0]["p_long"] == pytest.approx(0.5)


async def test_a_row_tells_whether_a_limit_cut_the_thought(tmp_path: Path) -> None:
    async with running(scripted("A thought of more than four tokens.\n</think>\n\n" + CALL)) as server:
        stored = await attempt_all(server, tmp_path, modes=("long",), request={"max_reasoning_tokens": 4})
    turns = [row["turns"][0] for row in stored]
    assert [(turn["reasoning_truncated"], turn["max_reasoning_tokens"]) for turn in turns] == [(True, 4)] * 20


async def test_the_questions_of_a_run_are_stored_once(tmp_path: Path) -> None:
    async with running(scripted(CALL)) as server:
        await attempt_all(server, tmp_path)
        stored = [*items.read(tmp_path)]
        await attempt_all(server, tmp_path)
    assert [*items.read(tmp_path)] == stored
    assert {item["id"] for item in stored} == {row["id"] for row in rows.read(tmp_path)}
    first = load_suite("graded", ["level-1"])
    asked = {item.id: item for item in first.items("level-1")}
    for item in stored[:10]:
        assert item["messages"] == asked[item["id"]].messages
        assert item["gold"] == [reply.message() for reply in first.gold(asked[item["id"]])]
        assert item["tools"] == [tool["function"]["name"] for tool in asked[item["id"]].tools]


def test_without_a_terminal_a_line_is_printed_at_each_tenth() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    with progress_bars(console) as progress:
        bars = ModeBars(progress, 30, ["auto", "long"], {"auto": Tally(items=10, solved=5, tokens=100)})
        for _ in range(20):
            bars.add("auto", solved=True, error=False, tokens=10)
    lines = console.export_text().splitlines()
    assert [line for line in lines if "attempts" in line] == [f"{done} of 60 attempts" for done in (12, 18, 24, 30)]
    assert lines[-1] == "  auto: 83.3%, 10 tokens"


def test_the_bars_of_a_terminal_fit_80_columns() -> None:
    console = Console(width=80, force_terminal=True, color_system=None, file=io.StringIO(), record=True)
    with progress_bars(console) as progress:
        bars = ModeBars(progress, 4441, ["auto@-2.5", "long"], {"auto@-2.5": Tally(4000, 3900, 120, 9_999_999)})
        bars.add("long", solved=False, error=True, tokens=0)
    shown = console.export_text().splitlines()
    assert any("auto@-2.5" in line and "97.5%, 2500 tokens, 120 errors" in line for line in shown)
    assert any("long" in line and "1 errors" in line for line in shown)


async def test_a_killed_run_resumes_without_a_lost_or_repeated_row(tmp_path: Path) -> None:
    async with running(scripted(CALL)) as server:
        command = [*CLI, "--url", server.url, "--out", str(tmp_path), "--limit", "40", "--modes", "short,auto"]
        for _ in range(2):
            killed = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
            before = count(tmp_path)
            while count(tmp_path) < before + 40:  # noqa: ASYNC110 another process writes
                await asyncio.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
        with (tmp_path / rows.FILE).open("ab") as file:
            file.write(b'{"suite": "graded", "id": "test-1')  # as a kill in the middle of a write leaves it
        last = await asyncio.create_subprocess_exec(*command)
        assert await last.wait() == 0
    stored = [*rows.read(tmp_path)]
    assert len(set(keys(stored))) == len(stored) == 6 * 40 * 2
    assert (tmp_path / "report.json").exists()


def count(folder: Path) -> int:
    return (folder / rows.FILE).read_bytes().count(b"\n") if (folder / rows.FILE).exists() else 0


async def test_another_run_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    open_run(tmp_path, manifest())
    open_run(tmp_path, manifest(url="http://elsewhere/v1", concurrency=2))
    with pytest.raises(AutoToolError, match="limit 10, not 3; seed 0, not 4"):
        open_run(tmp_path, manifest(limit=3, seed=4))


def test_fields_that_only_a_report_needs_may_change_later(tmp_path: Path) -> None:
    open_run(tmp_path, manifest())
    open_run(tmp_path, manifest(label="mine", parameters=135e6, concurrency=2))
    kept = json.loads((tmp_path / "run.json").read_text())
    assert (kept["label"], kept["parameters"], kept["concurrency"]) == ("mine", 135e6, 2)
    assert kept["started"]


async def test_dropped_errors_are_attempted_again(tmp_path: Path) -> None:
    async with running(scripted(CALL)) as server:
        stored = await attempt_all(server, tmp_path)
        with (tmp_path / rows.FILE).open("w") as file:
            file.writelines(
                json.dumps({**row, "error": "time-out" if index % 2 else None}) + "\n" for index, row in enumerate(stored)
            )
        assert len([row for row in await attempt_all(server, tmp_path) if row["error"]]) == 30
        rows.drop(tmp_path, lambda row: row["error"] is not None)
        assert len([*rows.read(tmp_path)]) == 30
        again = await attempt_all(server, tmp_path)
    assert keys(again) == keys(stored)
    assert not any(row["error"] for row in again)


def test_invalid_run_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("")
    with pytest.raises(AutoToolError, match="is not valid JSON"):
        open_run(tmp_path, manifest())


def test_two_processes_do_not_run_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AutoToolError, match="Another process"), locked(tmp_path):
        pass


async def test_a_rejected_request_is_the_items_error_and_the_run_continues(tmp_path: Path) -> None:
    async with running(scripted(CALL)) as server:
        stored = await attempt_all(server, tmp_path, request={"temperature": 99})
    assert len(stored) == 60
    assert all(row["error"].startswith("400: ") and row["score"] == 0 for row in stored)


async def test_a_lost_server_ends_the_run_and_loses_no_row(tmp_path: Path) -> None:
    async with running(scripted(CALL)) as server:
        await attempt_all(server, tmp_path, limit=2)
        url = server.url
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    (tmp_path / "run.json").unlink()
    with pytest.raises(AutoToolError, match="run again to resume"):
        await attempt_all(Running(url, client, server.state), tmp_path, limit=4)
    assert len([*rows.read(tmp_path)]) == 12
    with pytest.raises(AutoToolError, match="Is the server up"):
        await find_model(client, None)


async def test_a_server_without_our_record_is_read_from_usage_and_reasoning(tmp_path: Path) -> None:
    with fake_api(with_record=False) as api:
        client = openai.AsyncOpenAI(base_url=api.url, api_key="none")
        assert await find_model(client, None) == "tiny"
        # A server need not list the aliases of modes.
        assert await find_model(client, "tiny:short") == "tiny:short"
        with pytest.raises(AutoToolError, match="name one of the models"):
            await find_model(client, "tiny:small")
        attempt = Target(client, "tiny", ModeSwitch.ENABLE_THINKING, {}).attempt("long")
        answer = await attempt([{"role": "user", "content": "Hi"}], [])
    assert api.bodies[0]["chat_template_kwargs"] == {"enable_thinking": True}
    turn = attempt.turns[0]
    assert (turn.resolved, turn.p_long, turn.reasoning_tokens) == ("long" if answer.reasoning else "short", None, None)
    assert turn.generated_tokens == 10


async def test_a_server_that_may_ignore_our_modes_is_rejected() -> None:
    with fake_api(with_record=False) as api:
        client = openai.AsyncOpenAI(base_url=api.url, api_key="none")
        with pytest.raises(AutoToolError, match=r"returns no decision record.*--switch enable_thinking"):
            await Target(client, "tiny", ModeSwitch.MODE, {}).attempt("long")([{"role": "user", "content": "Hi"}], [])
        await Target(client, "tiny", ModeSwitch.MODE, {}).attempt("default")([{"role": "user", "content": "Hi"}], [])


async def test_reasoning_that_only_usage_reports_counts() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "total_tokens": 14,
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    message = {"role": "assistant", "content": "Hi"}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage}
    attempt = Target(answered_by(lambda _: httpx.Response(200, json=body)), "tiny", ModeSwitch.ENABLE_THINKING, {}).attempt(
        "auto"
    )
    await attempt([{"role": "user", "content": "Hi"}], [])
    assert (attempt.turns[0].resolved, attempt.turns[0].reasoning_tokens, attempt.turns[0].content_tokens) == ("long", 7, 2)


async def test_a_server_that_is_still_loading_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotool_client.discovery.RETRY_SECONDS", 0.0)
    answers = [httpx.Response(503, text="loading"), httpx.Response(200, json={"data": [{"id": "tiny", "object": "model"}]})]
    assert await find_model(answered_by(lambda _: answers.pop(0)), None) == "tiny"


@pytest.mark.parametrize(("status", "hint"), [(401, "--api-key or OPENAI_API_KEY"), (404, "A base URL ends in /v1")])
async def test_a_rejected_request_for_models_gets_a_hint(status: int, hint: str) -> None:
    refusing = answered_by(lambda _: httpx.Response(status, json={"error": {"message": "no"}}))
    with pytest.raises(AutoToolError, match=hint):
        await find_model(refusing, None, key_option="--api-key or OPENAI_API_KEY")


async def test_a_slow_answer_is_the_items_error() -> None:
    with fake_api() as api:
        client = openai.AsyncOpenAI(base_url=api.url, api_key="none", max_retries=0, timeout=0.000_001)
        with pytest.raises(UnansweredError, match="time-out"):
            await Target(client, "tiny", ModeSwitch.MODE, {}).attempt("auto")([{"role": "user", "content": "Hi"}], [])


def answered_by(answer: Callable[[httpx.Request], httpx.Response]) -> openai.AsyncOpenAI:
    http: Any = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return openai.AsyncOpenAI(base_url="http://x/v1", api_key="none", http_client=http, max_retries=0)


@pytest.mark.parametrize(
    "body", ["<html>", "{}", '{"data": [{}]}', '{"choices": [{"message": null}]}', '{"choices": [], "usage": {}}']
)
async def test_a_response_that_is_not_a_completion_is_the_items_error(body: str) -> None:
    client = answered_by(lambda _: httpx.Response(200, text=body))
    with pytest.raises(UnansweredError, match="the response"):
        await Target(client, "tiny", ModeSwitch.MODE, {}).attempt("auto")([{"role": "user", "content": "Hi"}], [])
    with pytest.raises(AutoToolError, match="does not speak OpenAI's API"):
        await find_model(client, None)


async def test_a_busy_server_is_retried_and_then_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotool_bench.target.PAUSES", (0.0, 0.0))
    requests: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        requests.append(1)
        return httpx.Response(503, text="busy")

    client = answered_by(answer)
    with pytest.raises(AutoToolError, match="keeps answering 503"):
        await Target(client, "tiny", ModeSwitch.MODE, {}).attempt("auto")([{"role": "user", "content": "Hi"}], [])
    assert len(requests) == 3


@pytest.mark.parametrize(
    ("label", "switch", "fields"),
    [
        ("auto", ModeSwitch.MODE, {"mode": "auto"}),
        ("auto@-2.5", ModeSwitch.MODE, {"mode": "auto", "reasoning_bias": -2.5}),
        ("default", ModeSwitch.MODE, {}),
        ("auto", ModeSwitch.ENABLE_THINKING, {}),
        ("short", ModeSwitch.ENABLE_THINKING, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("short", ModeSwitch.REASONING_EFFORT, {"reasoning_effort": "none"}),
    ],
)
def test_the_switch_determines_the_fields_of_a_mode(label: str, switch: ModeSwitch, fields: dict[str, Any]) -> None:
    assert mode_fields(label, switch) == fields


@pytest.mark.parametrize(
    ("label", "switch"),
    [
        ("fast", ModeSwitch.MODE),
        ("long@1", ModeSwitch.MODE),
        ("auto@1", ModeSwitch.REASONING_EFFORT),
        ("long", ModeSwitch.NONE),
    ],
)
def test_a_mode_that_the_switch_cannot_set_is_rejected(label: str, switch: ModeSwitch) -> None:
    with pytest.raises(AutoToolError, match=rf"mode {label}: .*default"):
        mode_fields(label, switch)


def test_a_sample_keeps_order_and_depends_on_the_seed_alone() -> None:
    numbers: Any = range(100)
    some: list[Any] = [*sample_items(numbers, 100, 10, 3)]
    assert some == sorted(some) == [*sample_items(numbers, 100, 10, 3)] != [*sample_items(numbers, 100, 10, 4)]
    assert [*sample_items(numbers, 100, 200, 3)] == [*sample_items(numbers, 100, None, 3)] == [*numbers]


async def test_gold_scores_of_every_graded_item() -> None:
    suite = load_suite("graded")
    for category in suite.categories:
        for item in suite.items(category):
            assert await score_gold(suite, item) == (1.0, 0.0)


async def test_graded_rejects_invalid_arguments_and_no_call() -> None:
    suite: Any = load_suite("graded", ["level-2"])
    item = next(suite.items("level-2"))
    right = suite.gold(item)[0]
    broken = Reply(calls=tuple(type(call)(call.name, call.arguments[:-1]) for call in right.calls))
    assert [suite.score(item, answer).score for answer in (right, broken, Reply("I cannot"))] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nope", {}, "use bfcl, graded"),
        ("graded", {"categories": ["level-9"]}, "level-9: use level-1"),
        ("graded", {"directory": Path()}, "takes no --directory"),
        ("api-bank", {}, "name its data"),
        ("api-bank", {"directory": Path("/nowhere")}, "no such directory"),
    ],
)
def test_an_unknown_suite_is_rejected(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        load_suite(name, **options)


def test_the_texts_of_a_suite_are_its_user_messages(tmp_path: Path) -> None:
    out = tmp_path / "new" / "graded.jsonl"
    done = CliRunner().invoke(cli.app, ["texts", "--suite", "graded", "--categories", "level-2", "--out", str(out)])
    assert "500 texts" in done.output
    written = list(read_texts([out]))
    assert written == [item.messages[0]["content"] for item in load_suite("graded").items("level-2")]
    refused = CliRunner().invoke(cli.app, ["texts", "--suite", "graded", "--out", str(tmp_path / "texts.txt")])
    assert "ends in .jsonl" in str(refused.exception)


def test_a_row_that_is_invalid_json_is_named(tmp_path: Path) -> None:
    (tmp_path / rows.FILE).write_text(json.dumps(bench_row("a", "auto")) + "\nnonsense\n")
    with pytest.raises(AutoToolError, match="line 2"):
        list(rows.read(tmp_path))


def test_tally_shows_accuracy_tokens_and_errors() -> None:
    tally = Tally()
    tally.add(solved=True, error=False, tokens=30)
    tally.add(solved=False, error=True, tokens=0)
    assert str(tally) == "50.0%, 15 tokens, 1 errors"


async def test_the_harness_is_cheap_and_its_memory_does_not_grow(tmp_path: Path) -> None:
    with fake_api() as api:
        command = [sys.executable, harness_cost.__file__, api.url, str(tmp_path)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
    figures = json.loads(out)
    assert figures["cpu_ms"] <= 5
    assert figures["growth_mib"] <= 8
