import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.bench_runs import graded_run, row, turn, write_run

from autotool_bench.report.listing import Selection, show_items
from autotool_core.errors import AutoToolError


def shown(folder: Path, selection: Selection, **options: Any) -> str:
    console = Console(width=80, record=True, file=(folder / "shown").open("w"))
    show_items(folder, selection, console=console, **options)
    return console.export_text()


def as_json(folder: Path, selection: Selection) -> list[dict[str, Any]]:
    with (folder / "shown").open("w") as file:
        show_items(folder, selection, console=Console(file=file), as_json=True)
    return [json.loads(line) for line in (folder / "shown").read_text().splitlines()]


def ids(folder: Path, selection: Selection) -> list[str]:
    return [item["id"] for item in as_json(folder, selection)]


def four(folder: Path) -> Path:
    """Four items: solved by auto alone, by long alone, by both and by none, for which the server failed."""
    wrong: dict[str, Any] = {"solved": False, "reason": "no call"}
    failed: dict[str, Any] = {"solved": False, "error": "time-out", "turns": []}
    rows = [
        *(
            row("only-auto", "auto", category="easy"),
            row("only-long", "auto", **wrong),
            row("both", "auto"),
            row("none", "auto", **failed),
        ),
        *(
            row("only-auto", "long", category="easy", **wrong),
            row("only-long", "long"),
            row("both", "long"),
            row("none", "long", **wrong),
        ),
    ]
    return write_run(folder, rows)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["only-auto", "only-long", "both", "none"]),
        (Selection(mode="auto", wrong=True), ["only-long", "none"]),
        (Selection(mode="long", wrong=False), ["only-long", "both"]),
        (Selection(wrong=True), ["only-long", "none", "only-auto"]),
        (Selection(categories=("easy",)), ["only-auto"]),
        (Selection(ids=("none", "both")), ["both", "none"]),
        (Selection(search="TIME-out"), ["none"]),
        (Selection(mode="auto", ids=("none", "none", "both"), wrong=False), ["both"]),
    ],
)
def test_what_is_selected(tmp_path: Path, selection: Selection, expected: list[str]) -> None:
    assert ids(four(tmp_path), selection) == expected


def test_an_item_is_shown_with_its_question_and_every_answer(tmp_path: Path) -> None:
    folder = graded_run(tmp_path, 1)
    item = json.loads((folder / "items.jsonl").read_text().splitlines()[0])
    output = shown(folder, Selection(ids=(item["id"],)))
    text = " ".join(output.split())
    assert f"question user: {item['messages'][0]['content']}" in text
    assert "tools " + ", ".join(item["tools"]) in text
    assert "expected" in text
    for mode in ("auto", "long", "short"):
        assert f"{mode} solved" in text or f"{mode} wrong: other calls than the gold ones" in text
    assert "1 of 1 such item" in text
    assert max(map(len, output.splitlines())) <= 80


def test_a_mode_shows_its_own_answer_and_the_verdicts_of_the_others(tmp_path: Path) -> None:
    output = shown(four(tmp_path), Selection(mode="auto", wrong=True), limit=1)
    assert "auto      wrong: no call (long, 10 tokens)" in output
    assert "others    long solved" in output
    assert "1 of 2 such items; --limit 0 shows all" in output


def test_long_texts_are_cut_unless_whole_ones_are_asked_for(tmp_path: Path) -> None:
    answers = [{"role": "assistant", "content": "[red]a" * 200, "reasoning": "b" * 900}]
    folder = write_run(tmp_path, [row("a", "auto", answers=answers, turns=[turn(finish_reason="length")])])
    output = shown(folder, Selection())
    assert "600 more characters" in output
    assert "300 more characters" in output
    assert "[red]a" in output
    assert "cut at the maximum of tokens" in output
    assert "more characters" not in shown(folder, Selection(), full=True)
    assert as_json(folder, Selection())[0]["attempts"][0]["reasoning"] == ["b" * 900]


def test_json_holds_the_text_of_the_answers(tmp_path: Path) -> None:
    text = "[bold]:100: at :cat: \ud83d"
    folder = write_run(tmp_path, [row("a", "auto", answers=[{"role": "assistant", "content": text}])])
    assert as_json(folder, Selection())[0]["attempts"][0]["answers"] == [text]
    assert ":100: at :cat: ?" in shown(write_run(tmp_path, [row("a:100:", "auto", answers=[{"content": text}])]), Selection())


def test_json_has_the_attempts_of_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    (item, *_) = as_json(four(tmp_path), Selection(mode="long"))
    assert [attempt["mode"] for attempt in item["attempts"]] == ["long"]


def test_an_attempt_says_whether_a_limit_cut_its_thought(tmp_path: Path) -> None:
    cut = row("thought", "auto", turns=[turn(reasoning_truncated=True)])
    folder = write_run(tmp_path, [row("whole", "auto"), cut, row("answer", "auto", turns=[turn(finish_reason="length")])])
    assert ids(folder, Selection(cut=True)) == ["thought", "answer"]
    assert "(long, 10 tokens, thought cut by a limit)" in shown(folder, Selection(ids=("thought",)))
    attempts = [attempt for item in as_json(folder, Selection()) for attempt in item["attempts"]]
    assert [attempt["thought_cut"] for attempt in attempts] == [False, True, False]


def test_an_item_without_a_gold_answer_of_its_own_says_what_solves_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row("a", "auto")])
    item = {"id": "a", "messages": [{"role": "user", "content": "Hi"}], "gold": [], "rule": "no call", "turns": 3}
    (folder / "items.jsonl").write_text(json.dumps(item) + "\n")
    text = " ".join(shown(folder, Selection()).split())
    assert "first of 3 turns user: Hi" in text
    assert "expected no call" in text


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(ids=("both", "neither")), r"--id: .* has no row of 'neither', only of only-auto, "),
        (Selection(categories=("hard",)), r"--categories: .* has no row of 'hard', only of easy, level-1"),
    ],
)
def test_an_option_that_no_row_has_is_named(tmp_path: Path, selection: Selection, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        show_items(four(tmp_path), selection)


@pytest.mark.parametrize(
    "broken", [{"id": "a"}, [], row("a", "auto", turns=[{"resolved": "long"}]), row("a", "auto", turns=[])]
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, broken: Any) -> None:
    broken = {**broken, "turns": None} if isinstance(broken, dict) and broken.get("turns") == [] else broken
    with pytest.raises(AutoToolError, match=r"rows\.jsonl, line 2 is not a row of a run"):
        show_items(write_run(tmp_path, [row("b", "auto"), broken]), Selection())


def test_an_unknown_mode_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"--mode: .* has no row of 'short', only of auto, long"):
        show_items(four(tmp_path), Selection(mode="short"))
    with pytest.raises(AutoToolError, match=r"holds no run\.json"):
        show_items(tmp_path / "nowhere", Selection())
