"""Labels by recorded traces and by a server over HTTP: the rule, the file of attempts, killed and resumed."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from openai import AsyncOpenAI
from support.fake_api import fake_api
from support.labelling import RIGHT, WRONG, record, run
from support.serving import running, scripted
from support.tiny import make_tokenizer

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch, ResolvedMode
from autotool_server.engines.base import EngineRequest
from autotool_training.common import records
from autotool_training.label.attempt import AttemptFile, LabelAnswer, LabelAttempt
from autotool_training.label.label import UNFINISHED, LabelSettings, ModelChoice, label


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trace(name: str, a: int | None = 1, reasoning: str | None = None, **fields: Any) -> dict[str, Any]:
    calls = [] if a is None else [{"name": "add", "arguments": {"a": a}}]
    return {"id": name, "content": "Well.", "calls": calls, "reasoning": reasoning, **fields}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def attempts(folder: Path) -> list[tuple[str, str, int]]:
    return [(row["mode"], row["id"], row["at"]) for row in [*jsonl.read(folder / "out.attempts.jsonl")][1:]]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (LabelAnswer("", (Call("add", {"a": 1}),)), True),
        (LabelAnswer("Calling.", (Call("add", {"a": 1.0}),)), True),
        (LabelAnswer("", (Call("add", {"a": "1"}),)), False),
        (LabelAnswer("", (Call("add", {"a": 1}), Call("add", {"a": 1}))), False),
        (LabelAnswer("Text", ()), False),
        (LabelAnswer("", None), False),
        (LabelAnswer("</think>", (Call("add", {"a": 1}),)), False),
        (LabelAnswer("", (Call("add", {"a": 1}),), whole=False), False),
    ],
)
def test_an_answer_is_right_by_its_calls_and_form(answer: LabelAnswer, *, right: bool) -> None:
    assert answer.is_right(record("r")) == right


def test_without_gold_calls_any_text_is_right_and_no_text_is_not() -> None:
    textual = record("r", calls=[], content="No tool does that.")
    assert LabelAnswer("I have no tool.", ()).is_right(textual)
    assert not LabelAnswer(" ", ()).is_right(textual)
    assert not LabelAnswer("I have no tool.", (Call("add", {"a": 1}),)).is_right(textual)


def test_the_rule(tmp_path: Path) -> None:
    names = ["easy", "hard", "never", "mute", "silent"]
    records.write(tmp_path / "in.jsonl", [record(name, reasoning="The source's.") for name in names])
    short = [trace("easy", 2), trace("easy"), *(trace(name, 2) for name in names[1:4] for _ in range(2))]
    long = [
        trace("hard", reasoning="a b c d e"),
        trace("hard", reasoning="a b c"),
        trace("hard", 2, reasoning="a"),
        trace("never", None, reasoning="a"),
        trace("mute", reasoning=" "),
    ]
    paths = [str(write(tmp_path / f"{name}.jsonl", *rows)) for name, rows in (("short", short), ("long", long))]
    made, counts = run(tmp_path, *paths, k=3)
    assert {name: (one.label, one.reasoning) for name, one in made.items()} == {
        "easy": ("short", "The source's."),
        "hard": ("long", "a b c"),
    }
    assert made["hard"].calls == record("r").calls
    assert counts["records"] == 5
    assert counts["kept"] == {"short": 1, "long": 1}
    assert counts["dropped"] == {"neither model right": 1, "right, without reasoning": 1, "neither model answered": 1}
    assert counts["notes"]["short answers"] == 8
    assert counts["notes"]["short answers right"] == 1
    assert counts["notes"]["long answers right"] == 3
    # Files hold at most so many attempts at a record.
    assert Counter(mode for mode, _, _ in attempts(tmp_path)) == {"short": 10, "long": 12}
    made, counts = run(tmp_path, *paths, k=3, threshold=0.6)
    assert (counts["kept"], counts["dropped"]) == ({"long": 1}, {"neither model right": 2, **DROPPED})


def test_what_neither_model_solves_may_be_learnt_with_the_gold_answer(tmp_path: Path) -> None:
    derived = record("derived", reasoning="One and no more.")
    records.write(tmp_path / "in.jsonl", [record("plain"), derived, record("mute"), record("unanswered")])
    wrong = [trace(name, calls=[]) for name in ("plain", "derived", "mute")]
    short = write(tmp_path / "short.jsonl", *wrong)
    long = write(tmp_path / "long.jsonl", *wrong[:2], trace("mute", reasoning=" "))
    made, counts = run(tmp_path, str(short), str(long), unsolved="gold")
    assert {name: (one.label, one.reasoning) for name, one in made.items()} == {
        "plain": ("short", None),
        "derived": ("long", "One and no more."),
        "mute": ("short", None),
    }
    assert (counts["dropped"], counts["notes"]["learnt with the gold answer"]) == ({"neither model answered": 1}, 3)


DROPPED = {"right, without reasoning": 1, "neither model answered": 1}


def test_a_file_of_records_is_a_file_of_traces(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a", reasoning="Because."), record("b")])
    write(tmp_path / "none.jsonl")
    made, counts = run(tmp_path, str(tmp_path / "none.jsonl"), str(tmp_path / "in.jsonl"))
    assert {name: (one.label, one.reasoning) for name, one in made.items()} == {"a": ("long", "Because.")}
    assert counts["dropped"] == {"right, without reasoning": 1}


def test_two_records_with_the_same_id_are_refused_before_an_attempt(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a"), record("b"), record("a", content="Another.")])
    traces = str(write(tmp_path / "t.jsonl", trace("a")))
    with pytest.raises(AutoToolError, match="the same id, a: make the file again"):
        run(tmp_path, traces, traces)
    assert not (tmp_path / "out.attempts.jsonl").exists()


def test_half_of_a_surrogate_pair_is_stored_in_an_attempt_and_never_as_reasoning(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a"), record("b")])
    wrong = {"id": "a", "calls": [{"name": "add", "arguments": {"a": "alpha \ud83d"}}]}
    short = write(tmp_path / "short.jsonl", wrong)
    halves = [trace(name, reasoning="Half: \ud83d") for name in "ab"]
    long = write(tmp_path / "long.jsonl", *halves, trace("a", reasoning="It is one, as asked."))
    for _ in range(2):  # made, and read again
        made, counts = run(tmp_path, str(short), str(long))
        assert {name: one.reasoning for name, one in made.items()} == {"a": "It is one, as asked."}
        assert counts["notes"]["short answers"] == 1
        assert counts["dropped"] == {"right, without reasoning": 1}


@pytest.mark.parametrize("name", ["short", "long"])
def test_other_traces_in_the_same_file_are_another_run(tmp_path: Path, name: str) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    paths = [str(write(tmp_path / f"{one}.jsonl", trace("a", 2))) for one in ("short", "long")]
    run(tmp_path, *paths)
    write(tmp_path / f"{name}.jsonl", trace("a", reasoning="Better."))
    with pytest.raises(AutoToolError, match=rf"holds attempts with other settings \({name}_contents\): give another --out"):
        run(tmp_path, *paths)


def test_attempts_of_older_code_without_fingerprints_are_continued(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    path, file = str(write(tmp_path / "t.jsonl", trace("a"))), tmp_path / "out.attempts.jsonl"
    run(tmp_path, path, path)
    first, *others = jsonl.read(file)
    write(file, {name: value for name, value in first.items() if not name.endswith("_contents")}, *others)
    before = file.read_bytes()
    run(tmp_path, path, path)
    assert file.read_bytes() == before


def test_a_line_that_is_no_trace_is_named(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    for row in ({"id": "a", "calls": [{"name": "f"}]}, {"calls": []}, "text"):
        write(tmp_path / "t.jsonl", trace("a"), row)
        with pytest.raises(AutoToolError, match=r"t\.jsonl, line 2 is no trace"):
            run(tmp_path, str(tmp_path / "t.jsonl"), str(tmp_path / "t.jsonl"))
        (tmp_path / "out.attempts.jsonl").unlink()


def test_invalid_records_are_skipped_or_end_the_run(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"id": "b"}\n')
    empty = ModelChoice(str(write(tmp_path / "t.jsonl", trace("a"))))
    sentences: list[str] = []
    counts = label(tmp_path / "in.jsonl", tmp_path / "out.jsonl", empty, empty, LabelSettings(), skipped=sentences.append)
    assert counts.as_dict()["total"]["kept"] == {"short": 1}
    assert len(sentences) == 1
    assert "in.jsonl, line 2: tools" in sentences[0]
    with pytest.raises(AutoToolError, match=r"in\.jsonl, line 2: tools"):
        label(tmp_path / "in.jsonl", tmp_path / "out.jsonl", empty, empty, LabelSettings(strict=True), skipped=pytest.fail)


TOKENIZER = make_tokenizer()


def by_name(request: EngineRequest) -> str:
    """The right call where the request is `easy`, or `hard` and the answer long."""
    prompt = TOKENIZER.decode(request.prompt_ids)
    is_long = prompt.endswith("<think>\n")
    call = RIGHT if "easy" in prompt or ("hard" in prompt and is_long) else WRONG
    return f"One and\nno more.\n</think>\n\n{call}" if is_long else call


async def test_a_server_gets_requests_in_both_modes(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record(f"{name}{at}") for name in ("easy", "hard", "never") for at in range(5)])
    async with running(scripted(by_name)) as server:
        made, counts = await asyncio.to_thread(run, tmp_path, server.url, server.url, concurrency=4)
        assert sorted(attempts(tmp_path)) == sorted({*attempts(tmp_path)})
        repeated = await asyncio.to_thread(run, tmp_path, server.url, server.url, concurrency=4)
    assert repeated == (made, counts)  # no attempt is left
    assert (counts["kept"], counts["dropped"]) == ({"short": 5, "long": 5}, {"neither model right": 5})
    assert made["hard0"].reasoning == "One and\nno more."
    assert Counter(mode for mode, _, _ in attempts(tmp_path)) == {"short": 30, "long": 20}


async def test_a_refused_request_is_an_unanswered_attempt(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("easy"), record("easy too long" * 500)])
    async with running(scripted(by_name)) as server:
        made, counts = await asyncio.to_thread(run, tmp_path, server.url, server.url)
    assert [*made] == ["easy"]
    assert counts["dropped"] == {"neither model answered": 1}
    rows = [row for row in jsonl.read(tmp_path / "out.attempts.jsonl") if row.get("error")]
    assert len(rows) == 4
    assert all(row["error"].startswith("400: ") for row in rows)


def test_stock_servers_get_the_templates_variable(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a", calls=[], content="It is 4.", tools=[])])
    with fake_api(with_record=False) as api:
        short = ModelChoice(api.url, switch=ModeSwitch.ENABLE_THINKING)
        long = ModelChoice(api.url, name="other", switch=ModeSwitch.NONE)
        settings = LabelSettings(k=2, threshold=1.1, seed=5)  # none is short, so that both models make attempts
        counts = label(tmp_path / "in.jsonl", tmp_path / "out.jsonl", short, long, settings, skipped=pytest.fail)
    assert counts.as_dict()["total"]["kept"] == {"long": 1}
    first, second, third, _ = api.bodies
    assert (first["chat_template_kwargs"], first["model"], first["seed"]) == ({"enable_thinking": False}, "tiny", 5)
    assert second["seed"] == 6
    assert third["model"] == "other"
    assert not {"chat_template_kwargs", "mode", "tools"} & third.keys()
    # Whatever the checkpoint's generation config says.
    plain = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    assert all(plain.items() <= body.items() for body in api.bodies)
    (made,) = records.read(tmp_path / "out.jsonl")
    assert (made.label, made.reasoning, made.content) == ("long", "2+2", "It is 4.")


def test_reasoning_of_the_no_thinking_model_is_an_unanswered_attempt(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a", calls=[], content="It is 4.", tools=[])])
    with fake_api(with_record=False) as api:
        made, counts = run(tmp_path, api.url, api.url, k=1)
    assert made["a"].label == "long"
    assert counts["notes"]["short attempts unanswered"] == 1
    errors = [row["error"] for row in jsonl.read(tmp_path / "out.attempts.jsonl") if row.get("error")]
    assert errors == ["the no-thinking model wrote reasoning: name the field that turns it off by --short-switch"]


def answered_by(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    """Have every request to a server answered by a function."""

    def client(**options: Any) -> AsyncOpenAI:
        http: Any = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return AsyncOpenAI(**options, max_retries=0, http_client=http)

    monkeypatch.setattr("autotool_training.label.endpoint.AsyncOpenAI", client)


@pytest.mark.parametrize("status", [400, 422])
def test_a_field_of_sampling_that_a_server_refuses_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    records.write(tmp_path / "in.jsonl", [record(str(at)) for at in range(6)])
    asked: list[set[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"object": "list", "data": [{"id": "tiny"}]})
        asked.append({*json.loads(request.content)})
        if refused := sorted(asked[-1] & {"min_p", "repetition_penalty"}):
            return httpx.Response(status, json={"error": {"message": f"Unknown parameter: '{refused[0]}'."}})
        call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return httpx.Response(200, json={"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    answered_by(monkeypatch, answer)
    made, counts = run(tmp_path, "http://server/v1", "http://server/v1", k=2, concurrency=3)
    assert (len(made), counts["notes"]["short answers right"]) == (6, 12)
    assert "top_k" in asked[-1]
    # Only the first requests of the three workers are refused.
    assert len(asked) <= 12 + 3 * 2


@pytest.mark.parametrize(("status", "retried"), [(503, True), (429, True), (408, True), (400, False), (422, False)])
def test_attempts_at_a_busy_server_are_repeated_by_a_resumed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, retried: bool
) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    traces = str(write(tmp_path / "t.jsonl", trace("a", reasoning="Because.")))
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"object": "list", "data": [{"id": "tiny"}]})
        requests.append(request)
        return httpx.Response(status, json={"error": {"message": "Not now."}})

    answered_by(monkeypatch, answer)
    for _ in range(2):
        made, counts = run(tmp_path, "http://server/v1", traces, k=1)
        assert made["a"].label == "long"
        assert counts["notes"].get(f"short {UNFINISHED}", 0) == retried
    assert len(requests) == (2 if retried else 1)


def test_an_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    with pytest.raises(AutoToolError, match="Is the server up"):
        run(tmp_path, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")


def test_attempts_of_other_settings_or_records_are_not_mixed(tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record("a")])
    traces = str(write(tmp_path / "t.jsonl", trace("a")))
    run(tmp_path, traces, traces)
    with pytest.raises(AutoToolError, match=r"out\.attempts\.jsonl holds attempts with other settings \(k, sampling\)"):
        run(tmp_path, traces, traces, k=3, seed=1)
    records.write(tmp_path / "in.jsonl", [record("b")])
    with pytest.raises(AutoToolError, match=r"other settings \(records\)"):
        run(tmp_path, traces, traces)


def test_attempts_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    made = [
        LabelAttempt("a", 0, LabelAnswer("c", (Call("f", {"x": [1, None]}),), "r")),
        LabelAttempt("a", 1, LabelAnswer("", None, whole=False)),
        LabelAttempt("b", 0, None, "400: no"),
    ]
    file = AttemptFile(tmp_path / "a.jsonl", {"k": 1})
    for one in made:
        file.add(ResolvedMode.LONG, one)
    file.close()
    reopened = AttemptFile(tmp_path / "a.jsonl", {"k": 1})
    assert [*reopened.of(ResolvedMode.LONG)] == made
    assert [*reopened.of(ResolvedMode.SHORT)] == []
    reopened.close()


def test_attempts_of_a_known_model_go_on_after_its_cache_has_moved(tmp_path: Path) -> None:
    for cache in ("old", "new"):
        AttemptFile(tmp_path / "a.jsonl", {"short": f"{tmp_path / cache}/smollm2-135m-0123abcd"}).close()
    assert '"smollm2-135m"' in (tmp_path / "a.jsonl").read_text()


KILLED = """
import sys, time
from pathlib import Path
from autotool_training.label.label import LabelSettings, ModelChoice, label
folder, url = Path(sys.argv[1]), sys.argv[2]
settings = LabelSettings(k=2, max_tokens=200, concurrency=4)
label(folder / "in.jsonl", folder / "out.jsonl", ModelChoice(url), ModelChoice(url), settings, skipped=print)
"""


async def test_a_killed_run_resumes_without_a_lost_or_doubled_attempt(tmp_path: Path) -> None:
    total = 60
    names = [f"{('easy', 'hard', 'never')[at % 3]}{at}" for at in range(total)]
    records.write(tmp_path / "in.jsonl", [record(name) for name in names])
    path = tmp_path / "out.attempts.jsonl"
    async with running(scripted(by_name)) as server:
        command = [sys.executable, "-c", KILLED, str(tmp_path), server.url]
        for enough in (30, 140):  # within the first model's attempts, and the second's
            killed = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            while not path.exists() or path.read_bytes().count(b"\n") < enough:  # noqa: ASYNC110 another process writes
                await asyncio.sleep(0.01)
            killed.kill()
            await killed.wait()
            assert not (tmp_path / "out.jsonl").exists()
            with path.open("ab") as file:
                file.write('{"mode": "short", "id": "easy0", "answer": "ü'.encode()[:-1])  # as a kill within a write leaves it
        last = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        assert await last.wait() == 0
    made = attempts(tmp_path)
    assert len(set(made)) == len(made) == total * 2 + total // 3 * 2 * 2
    labels = Counter(one.label for one in records.read(tmp_path / "out.jsonl"))
    assert labels == {"short": total // 3, "long": total // 3}
