"""The bfcl suite without the official package: categories, gold answers, requests to the scorer's process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from autotool_bench import items
from autotool_bench.suites.base import Item, Message, Reply, Tool, ToolCall
from autotool_bench.suites.bfcl import Bfcl, categories, environment, gold, official, process
from autotool_bench.suites.bfcl.episode import result_of
from autotool_bench.suites.bfcl.process import RefusedError, ScorerProcess
from autotool_core.errors import AutoToolError

ECHO = """
import json, os, signal, sys
requests, replies = (os.fdopen(int(fd), mode) for fd, mode in zip(sys.argv[1:], "rw"))
for line in requests:
    request = json.loads(line)
    text = request["arguments"].get("text", {"step_limit": 1})
    if text == "die":
        print("warming up\\nMemoryError: no room", file=sys.stderr)
        sys.exit(3)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = {"error": "ValueError bad"} if text == "bad" else {"value": text}
    replies.write(json.dumps({"n": request["n"]} | answer) + "\\n")
    replies.flush()
"""


def test_categories_are_chosen_by_name_and_group_in_the_leaderboards_order() -> None:
    assert categories.select(["multi_turn_base", "simple_python", "simple_python"]) == ("simple_python", "multi_turn_base")
    assert categories.select(["single_turn"]) == categories.NON_LIVE + categories.LIVE
    assert len(categories.select(["all"])) == 17


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["simple"], "no BFCL category or group of that name: choose among simple_python"),
        ([], "No BFCL category was chosen"),
        (["live", "memory"], "category memory is not run here: .*embedding"),
        (["web_search_base"], "paid key"),
        (["format_sensitivity"], "prompt of models without tool calling"),
        (["agentic"], "paid key"),
    ],
)
def test_categories_that_cannot_be_run_are_rejected_with_a_reason(names: list[str], message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        categories.select(names)


def arguments(answers: list[Reply]) -> list[dict[str, object]]:
    return [json.loads(call.arguments) for call in answers[0].calls]


def document(name: str, required: list[str], **types: Mapping[str, object]) -> dict[str, object]:
    return {"name": name, "parameters": {"required": required, "properties": types}}


def test_gold_takes_first_values_and_omits_optional_parameters() -> None:
    allowed = {"a": ["x", "y"], "b": [2, ""], "c": ["", 3], "d": [{"k": [1, 2], "l": ["", 5]}], "e": [[{"m": ["n"]}]]}
    answers = gold.single_turn([{"my.f": allowed}], [document("my.f", ["c"])], "python", corrupted=False)
    assert answers[0].calls[0].name == "my_f"
    assert arguments(answers) == [{"a": "x", "c": 3, "d": {"k": 1}, "e": [{"m": "n"}]}]


def test_corrupted_gold_has_other_values_in_the_first_call_only() -> None:
    wanted = [{"f": {"a": ["x"], "b": [True], "c": [1.5], "d": [[1]]}}, {"f": {"a": ["z"]}}, {"g": {}}]
    functions = [document("f", []), document("g", [])]
    right, wrong = (arguments(gold.single_turn(wanted, functions, "python", corrupted=bad)) for bad in (False, True))
    assert right[1:] == wrong[1:]
    assert all(right[0][key] != wrong[0][key] for key in "abcd")
    assert arguments(gold.single_turn(wanted[2:], functions, "python", corrupted=True)) != [{}]


JAVA = {
    "i": {"type": "integer"},
    "l": {"type": "long"},
    "f": {"type": "float"},
    "b": {"type": "boolean"},
    "s": {"type": "String"},
}
JAVA |= {"a": {"type": "Array", "items": {"type": "long"}}, "m": {"type": "HashMap"}}
JAVA |= {"n": {"type": "ArrayList", "items": {"type": "String"}}}


def test_java_values_are_written_as_source_text() -> None:
    allowed = {"i": [3], "l": [3], "f": [1.5], "b": [True], "s": ["x"], "a": [[1, 2]], "m": [{"k": ["v"]}], "n": [["p", "q"]]}
    answers = gold.single_turn([{"f": allowed}], [document("f", [], **JAVA)], "java", corrupted=False)
    assert arguments(answers) == [
        {
            "i": "3",
            "l": "3L",
            "f": "1.5f",
            "b": "true",
            "s": "x",
            "a": "new Object[]{1L, 2L}",
            "m": 'new HashMap<String, Object>() {{ put("k", "v"); }}',
            "n": 'new ArrayList<>(Arrays.asList("p", "q"))',
        }
    ]


def test_javascript_values_are_written_as_source_text() -> None:
    types = {"n": {"type": "Bigint"}, "a": {"type": "array", "items": {"type": "String"}}, "d": {"type": "dict"}}
    allowed = {"n": [3], "a": [["p", "q"]], "d": [{"k": ["v"], "j": [[1, True]]}]}
    answers = gold.single_turn([{"f": allowed}], [document("f", [], **types)], "javascript", corrupted=False)
    assert arguments(answers) == [{"n": "3n", "a": '["p", "q"]', "d": '{k: "v", j: [1, true]}'}]


def test_calls_are_parsed_from_python_and_corrupted_in_the_first_turn_with_calls() -> None:
    tools = [{"type": "function", "function": {"name": "cp", "parameters": {"properties": {"source": {}, "target": {}}}}}]
    turns = [[], ["cp('a', target='b')", "cp(source=-1)"], ["cp(source=[1, None])"]]
    right, wrong = (gold.multi_turn(turns, tools, corrupted=bad) for bad in (False, True))
    assert [len(answer.calls) for answer in right] == [0, 2, 0, 1, 0]
    assert arguments(right[1:2]) == [{"source": "a", "target": "b"}, {"source": -1}]
    assert arguments(right[3:4]) == arguments(wrong[3:4]) == [{"source": [1, None]}]
    assert all("unasked" in values for values in arguments(wrong[1:2]))


def test_a_result_is_the_calls_or_without_calls_the_content() -> None:
    assert result_of(Reply(content="x", calls=(ToolCall("f", "{"), ToolCall("f", "{}")))) == [{"f": "{"}, {"f": "{}"}]
    assert result_of(Reply(content="x")) == "x"
    assert result_of(Reply()) is None


def test_an_unanswered_item_is_not_a_refusal_if_a_refusal_is_right() -> None:
    ((call,),) = (official.unanswered("live_irrelevance", 'timed "out"'),)
    assert json.loads(call["unanswered_item"]) == {"error": 'timed "out"'}
    assert official.unanswered("live_relevance", "timed out") == "Error during inference: timed out"


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the scorer's process repeat texts."""
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    monkeypatch.setattr(process, "_SCRIPT", script)


@pytest.fixture
def scorer(echo: None, tmp_path: Path) -> Iterator[ScorerProcess]:
    scorer = ScorerProcess(Path(sys.executable), tmp_path)
    yield scorer
    scorer.close()


async def test_many_requests_at_once_get_their_own_answers(scorer: ScorerProcess) -> None:
    long = "x" * 100_000  # more than a pipe holds
    texts = [f"{number}{long}" for number in range(32)]
    assert await asyncio.gather(*(scorer.call_async("echo", text=text) for text in texts)) == texts
    assert scorer.call("echo", text="bar\udead") == "bar\udead"


async def test_the_process_continues_after_a_failed_operation(scorer: ScorerProcess) -> None:
    with pytest.raises(RefusedError, match="the official code failed: ValueError bad"):
        await scorer.call_async("echo", text="bad")
    assert scorer.call("echo", text="more") == "more"


@pytest.mark.parametrize(("text", "message"), [("die", "status 3: MemoryError: no room"), ("kill", "killed by signal 9")])
async def test_the_end_of_the_process_fails_pending_and_later_requests(scorer: ScorerProcess, text: str, message: str) -> None:
    tasks = [asyncio.create_task(scorer.call_async("echo", text=text)) for text in ("fine", text, "late")]
    fine, *failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert fine == "fine"
    assert all(type(error) is AutoToolError and message in str(error) for error in failed)
    with pytest.raises(AutoToolError, match=message):
        scorer.call("echo", text="after")


async def test_a_cancelled_request_does_not_affect_the_others(scorer: ScorerProcess) -> None:
    tasks = [asyncio.create_task(scorer.call_async("echo", text=text)) for text in "ab"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await tasks[1] == "b"


async def test_close_ends_the_process(scorer: ScorerProcess) -> None:
    assert scorer.call("echo", text="up") == "up"
    scorer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(scorer.pid, signal.SIG_DFL)
    with pytest.raises(AutoToolError, match="closed"):
        scorer.call("echo")


async def test_a_killed_scorer_is_named_and_a_closed_scorer_has_ended(
    echo: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(environment, "ensure", lambda: Path(sys.executable))
    suite = Bfcl(["simple_python"])

    async def kill(messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        os.kill(suite._scorer.pid, signal.SIGKILL)
        return Reply(content="I cannot do that.")

    with pytest.raises(AutoToolError, match="killed by signal 9"):
        await suite.attempt(Item("a", "simple_python", FIRST, [STEP], {}), kill)
    suite.close()
    assert not psutil.pid_exists(suite._scorer.pid)


def test_the_scorer_inherits_neither_keys_nor_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "HTTPS_PROXY", "WANDB_BFCL_PROJECT", "SOME_TOKEN"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment.variables(tmp_path).values()


@pytest.mark.parametrize(
    ("python", "message"), [("/nowhere/python", "does not name a Python"), (sys.executable, "has no bfcl-eval")]
)
def test_an_interpreter_without_the_package_is_rejected(monkeypatch: pytest.MonkeyPatch, python: str, message: str) -> None:
    monkeypatch.setenv(environment.INTERPRETER, python)
    with pytest.raises(AutoToolError, match=message):
        environment.ensure()


FIRST = [{"role": "user", "content": "Go."}]
STEP = {"type": "function", "function": {"name": "step", "parameters": {"properties": {"number": {"type": "integer"}}}}}


@pytest.mark.parametrize(("category", "rule"), [("live_relevance", "any call"), ("irrelevance", "no call")])
def test_an_item_that_many_answers_solve_is_stored_with_its_rule(tmp_path: Path, category: str, rule: str) -> None:
    item = Item("a", category, FIRST, [STEP], {"turns": [{"messages": FIRST, "tools": [STEP]}]})
    items.write(tmp_path, Bfcl.__new__(Bfcl), [item])
    (stored,) = items.read(tmp_path)
    assert (stored["rule"], stored["gold"], stored["turns"]) == (rule, [], 1)


def test_of_a_multi_turn_item_the_calls_are_stored_and_the_number_of_turns(tmp_path: Path) -> None:
    turn = {"messages": FIRST, "tools": [STEP]}
    item = Item("m", "multi_turn_base", FIRST, [STEP], {"turns": [turn, turn], "answers": [["step(1)"], ["step(number=2)"]]})
    items.write(tmp_path, Bfcl.__new__(Bfcl), [item])
    (stored,) = items.read(tmp_path)
    calls = [call["function"]["arguments"] for message in stored["gold"] for call in message["tool_calls"]]
    assert (calls, stored["rule"], stored["turns"]) == (['{"number": 1}', '{"number": 2}'], None, 2)
