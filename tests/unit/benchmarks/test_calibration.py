"""Calibration: from tasks of one's own over a scripted server to a profile with a bias, and the figures on made-up rows."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.bench_runs import row, turn, write_run
from support.serving import MODEL, Running, running
from support.tiny import make_tokenizer
from typer.testing import CliRunner

from autotool_bench import cli_calibrate, rows
from autotool_bench.calibration.choose import choose, rank
from autotool_bench.calibration.pairs import MODES, Pairs, read_pairs, write_dial_run
from autotool_bench.calibration.run import calibrate, sentences
from autotool_bench.config import RunConfig
from autotool_bench.report.columns import read_run
from autotool_bench.run import execute
from autotool_bench.suites import load_suite
from autotool_bench.suites.base import score_gold
from autotool_core.errors import AutoToolError
from autotool_core.profile import BUILTIN, load_profile
from autotool_core.target import Target
from autotool_server.engines.base import EngineRequest, Score
from autotool_server.engines.scripted import ScriptedEngine

PROFILE = BUILTIN["smollm2-autotool"]
TOKENIZER = make_tokenizer()
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": PARAMETERS}}


def task(number: int) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": json.dumps({"a": number})}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"messages": [{"role": "user", "content": f"<{number:02}>"}, answer], "tools": [TOOL]}


def write_tasks(path: Path, tasks: Sequence[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in tasks), encoding="utf-8")
    return path


class HardAndEasy(ScriptedEngine):
    """Is right in long, and in short where the number of the task is below 20; its log-odds are the number minus 25."""

    def __init__(self) -> None:
        eos = TOKENIZER.eos_token_id
        super().__init__(TOKENIZER, (eos,), lambda request: [*TOKENIZER.encode(self._answer(request)), eos])

    def _number(self, prompt_ids: Sequence[int]) -> int:
        return int(TOKENIZER.decode(prompt_ids).rpartition("<|im_start|>user\n<")[2][:2])

    def _answer(self, request: EngineRequest) -> str:
        number, is_long = self._number(request.prompt_ids), TOKENIZER.decode(request.prompt_ids).endswith("<think>\n")
        right = number if is_long or number < 20 else 0
        call = f'<tool_call>\n{{"name": "add", "arguments": {{"a": {right}}}}}\n</tool_call>'
        return f"Thinking it over at length.\n</think>\n\n{call}" if is_long else call

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...], **_: Any) -> Score:
        return Score((self._number(prompt_ids) - 25.0, *(0.0 for _ in candidates[1:])))


async def test_tasks_become_a_profile_with_a_bias(tmp_path: Path) -> None:
    data = write_tasks(tmp_path / "tasks.jsonl", [task(number) for number in range(1, 41)])
    out, console = tmp_path / "run", Console(width=200, record=True, file=(tmp_path / "shown").open("w"))
    async with running(HardAndEasy(), PROFILE) as server:
        config = RunConfig(suite="own", directory=data, out=out, url=server.url, model=MODEL, modes=MODES, max_tokens=200)
        await asyncio.to_thread(calibrate, config, Target.parse("regret=0"), PROFILE, console)
    found, shown = json.loads((out / "calibration.json").read_text()), console.export_text()
    assert (found["p_long"]["tasks"], found["p_long"]["needs_long"], found["p_long"]["auc"]) == (40, 21, 1.0)
    # At 5 and below, the task of number 20 is short and wrong; the bias is the smallest of the dial above that.
    assert 5.0 < found["choice"]["bias"] < 9.0
    assert (found["choice"]["accuracy"], found["choice"]["short_accuracy"]) == (1.0, 0.475)
    profile = load_profile(out / "mode_profile.json")
    assert profile == PROFILE.model_copy(update={"decision_bias": found["choice"]["bias"]})
    assert "Long is right where short is not in 21 of 40 tasks. p_long ranks these above the others in 100.0% of pairs" in shown
    assert (out / "dial" / "dial.html").exists()


def press(server: Running, *, is_loaded: bool) -> None:
    """Let the server expect of a request that comes now to wait for long, or not at all."""
    server.state.service.load.expected_wait = lambda _: 100.0 if is_loaded else None


async def test_answers_that_the_load_made_think_less_are_refused_and_attempted_again(tmp_path: Path) -> None:
    data, out = write_tasks(tmp_path / "tasks.jsonl", [task(number) for number in (3, 22, 30)]), tmp_path / "run"
    arguments = Target.parse("regret=0"), PROFILE, Console(file=(tmp_path / "shown").open("w"))
    async with running(HardAndEasy(), PROFILE, max_load_bias=4) as server:
        config = RunConfig(suite="own", directory=data, out=out, url=server.url, model=MODEL, modes=MODES, max_tokens=200)
        press(server, is_loaded=True)
        refused = r"in 6 of 9 rows .* because requests waited .* Serve without --max-load-bias, or lower --concurrency"
        with pytest.raises(AutoToolError, match=refused):
            await asyncio.to_thread(calibrate, config, *arguments)
        before = [*rows.read(out)]
        assert {(one["mode"], *load_of(one)) for one in before} == {("short", 0, 1), ("auto@0", -4, 0.25), ("long", 0, 0.25)}
        press(server, is_loaded=False)
        await asyncio.to_thread(calibrate, config, *arguments)
    after = [*rows.read(out)]
    assert (len(after), {load_of(one) for one in after}) == (9, {(0, 1)})
    assert [one for one in before if one["mode"] == "short"] == after[:3]
    assert (out / "calibration.json").exists()


def load_of(one: Mapping[str, Any]) -> tuple[float, float]:
    return one["turns"][0]["load_bias"], one["turns"][0]["load_share"]


async def test_the_derived_dial_is_what_a_server_answers_at_each_bias(tmp_path: Path) -> None:
    data = write_tasks(tmp_path / "tasks.jsonl", [task(number) for number in (3, 19, 22, 30, 38)])
    shifted = PROFILE.model_copy(update={"decision_bias": 1.5})
    async with running(HardAndEasy(), shifted) as server:
        base: dict[str, Any] = {"suite": "own", "directory": data, "url": server.url, "model": MODEL, "max_tokens": 200}
        await asyncio.to_thread(execute, RunConfig(**base, out=tmp_path / "run", modes=MODES))
        pairs = read_pairs(tmp_path / "run", shifted.decision_bias)
        write_dial_run(pairs, tmp_path / "run", tmp_path / "dial")
        modes = tuple(f"auto@{bias:g}" for bias in pairs.biases())
        await asyncio.to_thread(execute, RunConfig(**base, out=tmp_path / "real", modes=modes))
    wanted = {(one["id"], one["mode"]): _facts(one) for one in rows.read(tmp_path / "real")}
    derived = {(one["id"], one["mode"]): _facts(one) for one in rows.read(tmp_path / "dial") if one["mode"] in modes}
    assert derived == wanted
    assert len(wanted) == 5 * len(modes)
    assert read_run(tmp_path / "dial").items.modes == ("short", *modes, "long")


def _facts(one: Mapping[str, Any]) -> tuple[Any, ...]:
    [made], [answer] = one["turns"], one["answers"]
    calls = [call["function"] for call in answer["tool_calls"]]
    return one["score"], answer.get("reasoning"), calls, made["resolved"], made["generated_tokens"], round(made["p_long"], 9)


def made_up(folder: Path, odds: Sequence[float], needed: Sequence[bool], bias: float = 0.0, **auto: Any) -> Pairs:
    """Pairs of tasks that long always solves, and short unless it is `needed`, for 40 and 10 tokens."""
    lines: list[dict[str, Any]] = []
    for at, (log_odds, is_needed) in enumerate(zip(odds, needed, strict=True)):
        resolved = "long" if log_odds + bias > 0 else "short"
        p_long = 1 / (1 + math.exp(-log_odds))
        lines += [
            row(str(at), "short", solved=not is_needed, turns=[turn(10, resolved="short")]),
            row(str(at), "auto@0", turns=[turn(10, **({"resolved": resolved, "p_long": p_long} | auto))]),
            row(str(at), "long", turns=[turn(40)]),
        ]
    return read_pairs(write_run(folder, lines), bias)


def test_a_p_long_that_says_nothing_is_called_so(tmp_path: Path) -> None:
    pairs = made_up(tmp_path, [((at * 7) % 50 - 25) / 10 for at in range(100)], [at % 2 == 0 for at in range(100)])
    ranking = rank(pairs)
    assert ranking.interval is not None
    assert ranking.interval.low < 0.5 < ranking.interval.high
    said = sentences(pairs, ranking, choose(pairs, Target.parse("tokens=20")))[0]
    assert "p_long is not shown to be worth anything" in said


@pytest.mark.parametrize(("needed", "mode"), [(False, "short"), (True, "long")])
def test_where_there_is_nothing_to_choose_one_mode_is_named(tmp_path: Path, needed: bool, mode: str) -> None:
    pairs = made_up(tmp_path, [-1.0, 1.0, 2.0], [needed] * 3)
    ranking = rank(pairs)
    assert (ranking.auc, ranking.is_worth_something) == (None, False)
    assert f"--default-mode {mode}" in sentences(pairs, ranking, choose(pairs, Target.parse("regret=0")))[0]


def test_a_target_of_tokens_is_met_and_its_interval_holds_it(tmp_path: Path) -> None:
    pairs = made_up(tmp_path, [at / 10 - 5 for at in range(101)], [at > 50 for at in range(101)])
    choice = choose(pairs, Target.parse("tokens=26"))
    assert choice.generated_tokens == pytest.approx(26, abs=1)
    assert choice.bias_interval.low <= choice.bias <= choice.bias_interval.high
    assert choice.accuracy_interval.low <= choice.accuracy <= choice.accuracy_interval.high
    assert rank(pairs).auc == 1.0


def test_the_bias_of_the_servers_profile_counts(tmp_path: Path) -> None:
    pairs = made_up(tmp_path / "a", [-1.0, 1.0, 3.0], [False, True, True], bias=-2.0)
    assert pairs.log_odds.tolist() == pytest.approx([-3.0, -1.0, 1.0])
    with pytest.raises(AutoToolError, match=r"decided 1 of 3 tasks otherwise .* by --profile"):
        read_pairs(tmp_path / "a", 0.0)


def test_tasks_with_an_error_are_left_out(tmp_path: Path) -> None:
    lines = [row(name, mode, turns=[turn(p_long=0.7)]) for name in "ab" for mode in MODES]
    lines[1] |= {"error": "time-out", "turns": []}
    pairs = read_pairs(write_run(tmp_path, lines), 0.0)
    assert (len(pairs.tasks), pairs.left_out) == (1, 1)
    with pytest.raises(AutoToolError, match="no task was answered in all of short, auto@0, long"):
        read_pairs(write_run(tmp_path / "none", lines[:3]), 0.0)


def test_a_server_without_p_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="reports no p_long"):
        made_up(tmp_path, [1.0], [True], p_long=None)


def test_the_suite_scores_its_gold_answers(tmp_path: Path) -> None:
    text = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    suite = load_suite("own", None, write_tasks(tmp_path / "mine.jsonl", [task(1), text]))
    assert suite.categories == ("mine",)
    for item in suite.items("mine"):
        assert asyncio.run(score_gold(suite, item)) == (1.0, 0.0)


def test_a_faulty_row_is_named_with_what_to_write(tmp_path: Path) -> None:
    faulty = task(2)
    faulty["messages"][1]["tool_calls"][0]["function"]["arguments"] = "{"
    data = write_tasks(tmp_path / "mine.jsonl", [task(1), faulty])
    where = r"mine.jsonl, line 2: messages\[1\].tool_calls\[0\].function.arguments: not JSON; write a JSON object as a string"
    with pytest.raises(AutoToolError, match=where):
        load_suite("own", None, data)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--data", "nowhere.jsonl"], "--data nowhere.jsonl: there is no such file"),
        (["--target", "regret"], "--target regret: regret must be a share"),
        ([], "--checkpoint: name the served checkpoint"),
    ],
)
def test_faulty_options_are_refused(tmp_path: Path, options: list[str], fault: str) -> None:
    data = write_tasks(tmp_path / "mine.jsonl", [task(1)])
    words = ["--data", str(data), "--target", "regret=2%", "--out", str(tmp_path / "run"), *options]
    error = CliRunner().invoke(cli_calibrate.app, words).exception
    assert isinstance(error, AutoToolError)
    assert fault in str(error)
