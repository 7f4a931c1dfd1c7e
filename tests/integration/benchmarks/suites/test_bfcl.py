"""The bfcl suite over the official package, in its real environment, which the first run makes (two minutes, once)."""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.serving import running, scripted

from autotool_bench.suites.base import Item, Message, Reply, Tool, ToolCall, Verdict, score_gold
from autotool_bench.suites.bfcl import Bfcl, categories, environment
from autotool_bench.suites.bfcl import official as official_run
from autotool_bench.suites.bfcl.gold import UNSOLVABLE
from autotool_core.errors import AutoToolError

# The first test waits for the environment.
pytestmark = pytest.mark.timeout(900)

OFFICIAL = Path(__file__).parents[3] / "support/bfcl_official.py"
SOME = 4
TEXT = Reply(content="I cannot do that.")


@pytest.fixture(scope="module")
def python() -> Path:
    return environment.ensure()


@pytest.fixture(scope="module")
def suite(python: Path) -> Iterator[Bfcl]:
    suite = Bfcl()
    yield suite
    suite.close()


@pytest.fixture(scope="module")
def find(suite: Bfcl) -> Callable[[str], Item]:
    def find_item(name: str) -> Item:
        category = name.rsplit("_", 1)[0]
        return next(item for item in suite.items(category) if item.id == name)

    return find_item


class Scripted:
    """A model that returns its answers in turn, the last one repeatedly, and records the requests."""

    def __init__(self, *answers: Reply) -> None:
        self._answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        self.requests.append({"messages": messages, "tools": tools})
        await asyncio.sleep(0)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def call(name: str, **arguments: Any) -> Reply:
    return Reply(calls=(ToolCall(name, json.dumps(arguments)),))


def row(item: Item, mode: str, verdict: Verdict | None) -> dict[str, Any]:
    answered = verdict or Verdict(0.0)
    error = None if verdict else "the server's answer timed out"
    kept = {"score": answered.score, "result": answered.result, "error": error}
    return {"suite": "bfcl", "category": item.category, "id": item.id, "mode": mode} | kept


@pytest.mark.parametrize("category", categories.select(["all"]))
async def test_gold_answers_are_solved_and_corrupted_ones_are_not(suite: Bfcl, category: str) -> None:
    items = [item for item in islice(suite.items(category), SOME) if item.id not in UNSOLVABLE]
    assert await asyncio.gather(*(score_gold(suite, item) for item in items)) == [(1.0, 0.0)] * len(items)


@pytest.mark.parametrize("name", UNSOLVABLE)
async def test_items_that_are_named_unsolvable_are_not_solved_by_their_gold(
    suite: Bfcl, find: Callable[[str], Item], name: str
) -> None:
    assert await score_gold(suite, find(name)) == (0.0, 0.0)


async def test_all_items_are_there_in_their_order_with_unique_ids(suite: Bfcl) -> None:
    counts = {category: [item.id for item in suite.items(category)] for category in ("live_irrelevance", "multi_turn_base")}
    assert {category: len(set(ids)) for category, ids in counts.items()} == {"live_irrelevance": 884, "multi_turn_base": 200}
    assert counts["multi_turn_base"] == [f"multi_turn_base_{number}" for number in range(200)]


NO_JSON = Reply(calls=(ToolCall("cd", "{folder"),))
ODD = [
    Reply(content=None),
    Reply(content=""),
    NO_JSON,
    Reply(calls=(ToolCall("cd", "[1]"), ToolCall("", "{}"))),
    Reply(calls=(ToolCall("no such function", '{"a": NaN}'),)),
    Reply(content="\ud83d [f(x=1)]"),
]


@pytest.mark.parametrize("category", ["simple_python", "simple_java", "parallel", "live_relevance", "multi_turn_base"])
async def test_odd_answers_are_wrong_and_do_not_end_the_process(suite: Bfcl, category: str) -> None:
    item = next(suite.items(category))
    verdicts = [await suite.attempt(item, Scripted(answer, TEXT)) for answer in ODD]
    relevant = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]  # any call is relevant, if it can be read
    assert [verdict.score for verdict in verdicts] == (relevant if category == "live_relevance" else [0.0] * len(ODD))
    assert all(verdict.reason for verdict in verdicts if not verdict.score)
    assert await score_gold(suite, item) == (1.0, 0.0)


PLAYS: dict[str, list[Reply]] = {
    "simple_java_3": [TEXT],
    "live_multiple_4-2-1": [TEXT],
    "multi_turn_base_0": [call("ls"), NO_JSON, call("pwd"), Reply(content=""), Reply(content=None), TEXT],
    "multi_turn_base_1": [call("pwd")],
    "multi_turn_miss_func_0": [call("cd", folder="document"), TEXT, call("sort", file_name="x"), TEXT],
    "multi_turn_long_context_2": [Reply(calls=(ToolCall("pwd", "{}"), ToolCall("nothing", '{"x": [1.5, true]}'))), TEXT],
}


@pytest.fixture(scope="module")
def official(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the requests and results of the official generation for the same answers."""
    longest = 30
    answers = {
        name: [[{c.name: c.arguments} for c in answer.calls] or answer.content for answer in play + [play[-1]] * longest]
        for name, play in PLAYS.items()
    }
    variables = environment.variables(tmp_path_factory.mktemp("bfcl"))
    command = [python, "-I", "-X", "utf8", OFFICIAL]
    done = subprocess.run(command, input=json.dumps(answers), env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PLAYS)
async def test_the_requests_are_those_of_the_official_generation(
    suite: Bfcl, find: Callable[[str], Item], official: dict[str, Any], name: str
) -> None:
    model = Scripted(*PLAYS[name])
    verdict = await suite.attempt(find(name), model)
    for request in model.requests:
        request["messages"] = [
            {key: value for key, value in message.items() if value is not None} for message in request["messages"]
        ]
    assert model.requests == official[name]["requests"]
    assert verdict.result == official[name]["result"]


async def test_a_turn_without_end_ends_the_episode(suite: Bfcl, find: Callable[[str], Item]) -> None:
    model = Scripted(call("pwd"))
    verdict = await suite.attempt(find("multi_turn_base_1"), model)
    assert (verdict.score, len(model.requests), len(verdict.result)) == (0.0, 21, 1)
    assert "force_terminated" in str(verdict.reason)


async def test_held_out_functions_come_in_their_turn(suite: Bfcl, find: Callable[[str], Item]) -> None:
    model = Scripted(TEXT)
    await suite.attempt(find("multi_turn_miss_func_0"), model)
    has_sort = ["sort" in {tool["function"]["name"] for tool in request["tools"]} for request in model.requests]
    assert has_sort == [False, False, False, True, True]


async def test_concurrent_episodes_of_an_item_have_separate_states(suite: Bfcl) -> None:
    item = next(suite.items("multi_turn_base"))
    scores = await asyncio.gather(*(score_gold(suite, item) for _ in range(16)))
    assert set(scores) == {(1.0, 0.0)}


async def test_the_state_of_an_ended_episode_is_freed(suite: Bfcl) -> None:
    def step(name: str, **arguments: Any) -> Any:
        result = [{name: json.dumps(arguments)}]
        return suite._scorer.call("step", episode="mine", item="multi_turn_base_0", result=result)

    start = step("pwd")
    step("cd", folder="document")
    assert step("pwd") != start
    suite._scorer.call("end", episode="mine")
    assert step("pwd") == start
    suite._scorer.call("end", episode="mine")


async def test_verdicts_leave_no_state_behind(suite: Bfcl) -> None:
    items = list(islice(suite.items("multi_turn_base"), 20))
    for _ in range(2):
        assert [await score_gold(suite, item) for item in items] == [(1.0, 0.0)] * len(items)


ENDLESS = [(call("power", base=10, exponent=10**9), "took too long"), (call("inspect.sys.exit"), "SystemExit")]


async def test_a_call_that_never_returns_is_unsolved(python: Path, find: Callable[[str], Item]) -> None:
    item = find("multi_turn_base_15")
    suite = Bfcl(["multi_turn_base"], seconds=2)
    for answer, reason in ENDLESS:
        verdict = await suite.attempt(item, Scripted(answer))
        assert (verdict.score, reason in str(verdict.reason), reason in verdict.result) == (0.0, True, True)
    assert await score_gold(suite, item) == (1.0, 0.0)
    suite.close()


RUN = ("simple_python", "simple_javascript", "irrelevance", "live_relevance", "live_irrelevance", "multi_turn_miss_param")


@pytest.fixture(scope="module")
async def run(suite: Bfcl) -> dict[str, list[dict[str, Any]]]:
    """Rows of two modes: right, wrong and unanswered items in the first, right ones of one category in the second."""
    rows: dict[str, list[dict[str, Any]]] = {"long": [], "short": []}
    for category in RUN:
        for index, item in enumerate(islice(suite.items(category), 6)):
            model = Scripted(*suite.gold(item, corrupted=index % 3 == 1), Reply(content=""))
            rows["long"].append(row(item, "long", None if index % 3 == 2 else await suite.attempt(item, model)))
    surrogate = Scripted(call("f", x="\ud83d"))
    odd = list(islice(suite.items("live_simple"), 2))
    rows["short"] = [row(odd[0], "short", await suite.attempt(odd[0], surrogate))]
    rows["short"].append(row(odd[1], "short", await suite.attempt(odd[1], Scripted(*suite.gold(odd[1])))))
    return rows


@pytest.fixture(scope="module")
def finished(suite: Bfcl, run: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the official run over the rows, and its figures."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        figures = suite.finish(Path("relative"), lambda mode: iter(run[mode][::-1]), ["long", "short"])
    return folder / "relative", figures


def test_the_official_figures_are_those_of_the_rows(suite: Bfcl, finished: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = finished
    long, short = figures["long"], figures["short"]
    assert long["categories"] == {category: {"accuracy": 2 / 6, "count": 6} for category in RUN}
    # (1/3 of one of three simple ones, twice) of four kinds; the two irrelevances and relevance weigh nothing there.
    assert long["non_live"] == pytest.approx((1 / 3 + 0 + 1 / 3) / 3 / 4, abs=1e-4)
    assert long["multi_turn"] == pytest.approx(1 / 3 / 4, abs=1e-4)
    weighed = 10 * long["non_live"] + 10 * long["live"] + 10 * (1 / 3) + 30 * long["multi_turn"]
    assert long["overall"] == pytest.approx(weighed / 100, abs=2e-4)
    assert {"memory_kv", "web_search_base", "format_sensitivity", "simple_java"} < set(long["left_out"])
    assert not set(RUN) & set(long["left_out"])
    assert short["categories"] == {"live_simple": {"accuracy": 0.5, "count": 2}}
    assert (short["non_live"], short["multi_turn"]) == (None, None)
    assert suite.finish(folder, lambda mode: iter(()), ["auto"]) == {}


def test_a_row_that_the_official_run_does_not_confirm_is_an_error(
    suite: Bfcl,
    run: Mapping[str, Any],
    finished: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [dict(stored) for stored in run["short"]]
    rows[0]["score"] = 1.0
    scores = finished[0] / "bfcl" / "short" / "score"  # the verdicts on the same results
    monkeypatch.setattr(official_run, "_run", lambda python, folder, *_: shutil.copytree(scores, folder / "score"))
    with pytest.raises(AutoToolError, match=rows[0]["id"]):
        suite.finish(tmp_path, lambda mode: iter(rows), ["short"])


def test_the_environment_is_created_completely_or_not_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path))
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv(environment.INTERPRETER, raising=False)
    with pytest.raises(AutoToolError, match=r"could not be created: .*torch.* \(pip's log: .*\.log\)\.") as failed:
        environment.ensure()
    assert "127.0.0.1" in Path(str(failed.value).rpartition(": ")[2].removesuffix(").")).read_text()
    # Nothing to install, and so no pip, whose installation takes long: what is left is the making.
    monkeypatch.setattr(environment, "_STEPS", ())
    base = tmp_path / "python-without-pip"
    base.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@" --without-pip\n')
    base.chmod(0o755)
    monkeypatch.setattr(environment, "_base_python", lambda: str(base))
    python = environment.ensure()
    left = python.parent / "left"
    left.touch()
    assert environment.ensure() == python
    assert left.exists()
    (python.parents[1] / ".ready").unlink()  # as if a run was killed before its end
    assert environment.ensure() == python
    assert not left.exists()


async def test_the_official_generate_command_completes_a_category_through_this_server(python: Path, tmp_path: Path) -> None:
    known = "openbmb/MiniCPM-SALA-FC"
    calls = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    command = [python, "-c", "from bfcl_eval.__main__ import cli; cli()", "generate", "--model", known]
    command += ["--test-category", "live_parallel", "--num-threads", "4"]
    async with running(scripted(calls, "I cannot do that.", log_odds=-50), model=known) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "BFCL_PROJECT_ROOT": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    written = next((tmp_path / "result").rglob("*live_parallel_result.json")).read_text().splitlines()
    results = [json.loads(line) for line in written]
    assert len(results) == 16
    assert not [entry for entry in results if "traceback" in entry or "Error" in str(entry["result"])]
    assert {"get_weather": '{"city": "Rome"}'} in [
        call for entry in results if isinstance(entry["result"], list) for call in entry["result"]
    ]
