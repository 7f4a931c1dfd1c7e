import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from rich.console import Console
from support.bench_runs import graded_run, official_of, row, synthetic_rows, turn, write_run

from autotool_bench.report import write_report
from autotool_bench.report.summary import report_runs
from autotool_bench.report.svg import SVG
from autotool_bench.report.text import short_names
from autotool_core.errors import AutoToolError

COIN_TOSS = "coin toss between short and long</text>"  # in the legend of a plot that has the line
HOSTILE = '<script>alert(1)</script>"><b onload=x>$\\frac{1}{2}$\x00&amp;\ud800'


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(*folders: Path, out: Path | None = None, width: int = 120, drawn: bool = False) -> tuple[Page, dict[str, Any], str]:
    """Report runs. Plots are made, but written as SVG only if `drawn`, since that takes most of the time."""
    into = out or folders[0]
    console = Console(width=width, record=True, file=(folders[0] / "shown").open("w", errors="replace"))
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(Figure, "savefig", lambda _, file, **options: file.write(f'<svg xmlns="{SVG}"/>'))
        write_report(list(folders), out, console)
    return Page((into / "report.html").read_text()), json.loads((into / "report.json").read_text()), console.export_text()


def test_a_report_holds_every_plot_and_its_ids_are_unique(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / name, synthetic_rows(60, seed=index)) for index, name in enumerate(("one", "two")))
    page, _, _ = report(one, two, drawn=True)
    # Frontier, categories, composition, latency and a reliability curve each, for a wide and for a narrow screen.
    assert len(page.attributes("svg")) == 2 * 6
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = [attributes["xlink:href"] for attributes in page.attributes("use")]
    assert referred
    assert {(name or "")[1:] for name in referred} <= set(ids)
    clipped = {
        match for _, attributes in page.tags for match in re.findall(r"url\(#(.+?)\)", attributes.get("clip-path") or "")
    }
    assert clipped <= set(ids)


def test_drawings_are_described_and_tables_are_captioned(tmp_path: Path) -> None:
    page, _, _ = report(write_run(tmp_path, synthetic_rows(60)))
    ids = {attributes.get("id") for _, attributes in page.tags}
    for svg in page.attributes("svg"):
        assert svg["role"] == "img"
        assert set((svg["aria-labelledby"] or "").split()) <= ids
    assert len(page.attributes("caption")) == len(page.attributes("table"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.attributes("th"))


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    modes = ("auto", "long", "short")
    rows = [row(f"a{index}", mode, category=HOSTILE, error=HOSTILE if index else None) for mode in modes for index in range(2)]
    folder = write_run(tmp_path, rows, label=HOSTILE, model=HOSTILE, suite=HOSTILE, request={HOSTILE: HOSTILE})
    page, _, shown = report(folder, drawn=True)
    assert len(page.attributes("script")) == 1  # the page's own, which its policy names
    assert not page.attributes("b")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<script>alert(1)</script>" in page.text
    assert "<script>alert(1)</script>" in shown


def test_brackets_in_a_label_are_no_markup_in_the_terminal(tmp_path: Path) -> None:
    _, _, shown = report(write_run(tmp_path, [row("a", "auto", category="[bold]simple[/bold]")]))
    assert "[bold]simple[/bold]" in shown


def test_the_categories_of_many_runs_fit_into_a_terminal(tmp_path: Path) -> None:
    labels = [f"checkpoint-{index}" for index in range(18)]
    _, _, shown = report(*(write_run(tmp_path / label, [row("a", "auto")], label=label) for label in labels))
    _, *tables = shown.split("Accuracy by category")
    assert len(tables) > 1
    heads = [table.strip().splitlines()[0] for table in tables]
    assert [label for head in heads for label in labels if f"{label} " in f"{head} "] == labels


def test_nothing_on_the_page_is_fetched(tmp_path: Path) -> None:
    page, _, _ = report(write_run(tmp_path, synthetic_rows(60), url="http://localhost:8000/v1"), drawn=True)
    fetched = [
        attributes[name] for _, attributes in page.tags for name in ("src", "href", "xlink:href") if attributes.get(name)
    ]
    assert all((address or "").startswith(("#", "data:")) for address in fetched)


@pytest.mark.parametrize(
    ("request_fields", "limit", "option"),
    [
        ({"max_reasoning_tokens": 64, "max_completion_tokens": 128}, 64, "--max-reasoning-tokens"),
        ({"max_completion_tokens": 128}, 96, "--max-tokens"),  # what the server leaves to the thought
        ({"max_completion_tokens": 128}, 95, "--max-tokens"),  # and in auto
        ({"max_completion_tokens": 128}, 40, "--max-reasoning-tokens"),  # a limit of the server's own
        ({"max_completion_tokens": 128}, None, "--max-tokens"),
        ({}, 40, "--max-tokens"),
    ],
)
def test_thoughts_that_were_cut_are_a_warning(
    tmp_path: Path, request_fields: dict[str, Any], limit: int | None, option: str
) -> None:
    cut = [turn(reasoning_truncated=index < 18, max_reasoning_tokens=limit) for index in range(20)]
    rows = [row(str(index), "long", turns=[cut[index]]) for index in range(20)]
    rows += [row(str(index), "short", turns=[turn(resolved="short", reasoning_truncated=False)]) for index in range(20)]
    page, data, shown = report(write_run(tmp_path, rows, request=request_fields))
    warning = f"18 of 20 thoughts were cut: raise {option}."
    assert [mode["warning"] for mode in data["runs"][0]["modes"]] == [warning, None]
    for text in (page.text, shown):
        assert f"long: {warning}" in text
        assert text.count("thoughts were cut") == 1


@pytest.mark.parametrize("changed", [{}, {"reasoning_truncated": None}, {"reasoning_truncated": False}])
def test_without_cut_thoughts_there_is_no_warning(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Rows of earlier versions and of other servers do not say whether thoughts were cut."""
    page, data, shown = report(write_run(tmp_path, [row("a", "long", turns=[turn(**changed)])]))
    figures = data["runs"][0]["modes"][0]["figures"]
    assert (figures["thoughts"], figures["cut_thoughts"]) == (int(changed.get("reasoning_truncated") is False), 0)
    assert "were cut" not in page.text + shown


def test_a_number_that_the_server_does_not_report_is_marked(tmp_path: Path) -> None:
    page, data, shown = report(write_run(tmp_path, [row("a", "long", solved=False)]), drawn=True)
    figures = data["runs"][0]["modes"][0]["figures"]
    assert (figures["reasoning_tokens"], figures["token_cost"], figures["acu"]) == (None, None, None)
    for text in (page.text, shown):
        assert "not reported" in text
        assert "no task solved" in text


def test_a_server_that_served_nothing_is_still_reported(tmp_path: Path) -> None:
    page, _, _ = report(
        write_run(tmp_path, [row("a", mode, turns=[], error="refused", solved=False) for mode in ("auto", "long")]), drawn=True
    )
    assert "none served" in page.text
    assert "refused" in page.text


def test_the_most_frequent_errors_come_first_and_are_counted(tmp_path: Path) -> None:
    errors = ["rare", "common", "common"]
    rows = [row(str(index), "auto", turns=[], error=error, solved=False) for index, error in enumerate(errors)]
    _, data, shown = report(write_run(tmp_path, [*rows, row("good", "auto")]))
    (mode,) = data["runs"][0]["modes"]
    assert mode["errors"] == [{"message": "common", "items": 2}, {"message": "rare", "items": 1}]
    assert mode["figures"]["accuracy"] == 0.25
    assert "2 items: common" in shown


def test_items_that_were_not_attempted_in_a_mode_are_reported(tmp_path: Path) -> None:
    page, data, _ = report(write_run(tmp_path, [row("a", "auto"), row("b", "auto"), row("a", "long")]))
    assert [mode["untried"] for mode in data["runs"][0]["modes"]] == [0, 1]
    assert "1 not attempted" in page.text


def test_labels_that_differ_in_their_middle_stay_distinct(tmp_path: Path) -> None:
    labels = [f"a-checkpoint-of-a-long-name-{middle}-step-1000" for middle in ("one", "two")]
    runs = [write_run(tmp_path / label, [row("a", "auto"), row("a", "long")], label=label) for label in labels]
    page, _, _ = report(*runs)
    attempts = [attributes for attributes in page.attributes("div") if attributes.get("class") == "attempt"]
    assert [attributes["data-series"] for attributes in attempts] == ["0", "1", "2", "3"]
    options = re.findall("<option value=.wrong ([0-9]).>(.*?): not solved", (runs[0] / "report.html").read_text())
    assert len(dict(options)) == len({name for _, name in options}) == 4


def test_short_names_keep_both_ends_and_differ() -> None:
    assert short_names(["abcdefghij", "abc", "abcdefghij"], 7) == ["abc…hij", "abc", "ab…j #2"]
    assert short_names(["a" * 9 + "1", "a" * 9 + "2"], 8) == ["aaaa…aa1", "aaaa…aa2"]


def test_the_page_names_a_command_for_each_run(tmp_path: Path) -> None:
    one, two = (
        write_run(tmp_path / name, [row("a", mode) for mode in modes])
        for name, modes in (("a run", ("long", "short")), ("two", ("short",)))
    )
    page, _, _ = report(one, two)
    assert f"autotool bench items '{one}' --wrong --mode long" in page.text
    assert f"autotool bench items {two} --wrong" in page.text
    assert "--mode auto" not in page.text


def test_runs_with_the_same_label_are_numbered(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, [row("a", "auto")], label="same") for name in "abc"]
    _, data, _ = report(*folders, out=tmp_path / "out" / "deep")
    assert [run["label"] for run in data["runs"]] == ["same", "same #2", "same #3"]
    assert not (folders[0] / "report.html").exists()


def test_the_headline_compares_auto_with_long(tmp_path: Path) -> None:
    rows = [
        *(row(str(index), "auto", solved=index < 3, turns=[turn(10)]) for index in range(4)),
        *(row(str(index), "long", solved=index < 2, turns=[turn(40)]) for index in range(4)),
    ]
    page, _, _ = report(write_run(tmp_path / "ours", rows))
    assert (
        "ours: auto solves 75.0 % of the items, +25.0 points against long, with 25.0 % of long's generated tokens" in page.text
    )


def with_official(folder: Path, change: dict[str, Any] | None = None) -> Path:
    write_run(folder, synthetic_rows(80), suite="bfcl")
    official = official_of(folder, ["auto", "long"])
    official["auto"]["categories"]["simple"] |= change or {}
    (folder / "official.json").write_text(json.dumps(official))
    return folder


def test_official_figures_are_shown_with_the_categories_that_they_leave_out(tmp_path: Path) -> None:
    page, data, shown = report(with_official(tmp_path))
    assert [mode["official"] is None for mode in data["runs"][0]["modes"]] == [False, False, True]
    for text in (page.text, shown):
        assert "Official figures" in text
        assert "18.2 %" in text
        assert "web_search_base, memory_kv" in text


@pytest.mark.parametrize("change", [{"accuracy": 0.9}, {"count": 11}])
def test_official_figures_that_differ_from_the_rows_are_an_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(
        AutoToolError, match=r"official\.json has .* for the category 'simple' in the mode 'auto', the rows have"
    ):
        report_runs([with_official(tmp_path, change)])


def test_a_category_that_the_official_scorer_has_not_seen_is_an_error(tmp_path: Path) -> None:
    folder = with_official(tmp_path)
    with (folder / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps(row("new", "auto", category="added later")) + "\n")
    with pytest.raises(AutoToolError, match="has no figures for the category 'added later'"):
        report_runs([folder])


def test_the_same_rows_give_the_same_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path, synthetic_rows(40))
    report(folder, drawn=True)
    first = (folder / "report.html").read_text()
    report(folder, drawn=True)
    assert (folder / "report.html").read_text() == first


def test_the_title_says_what_was_measured(tmp_path: Path) -> None:
    folder = graded_run(tmp_path, model="/models/tiny", limit=4, request={"max_completion_tokens": 256})
    page, _, shown = report(folder)
    (title,) = re.findall("<h1>(.*?)</h1>", (folder / "report.html").read_text())
    assert title == "graded: 24 items of 6 categories, tiny"
    for fact in ("auto, long, short", "2026-11-28", "at most 4 per category", "at most 256"):
        assert fact in page.text
    assert "graded: 24 items of 6 categories" in shown
    assert "model tiny, modes auto, long, short, started 2026-11-28" in shown


def test_runs_of_other_items_are_not_compared(tmp_path: Path) -> None:
    few, many, again = (graded_run(tmp_path / name, count) for name, count in (("few", 2), ("many", 4), ("again", 4)))
    page, data, shown = report(few, many, again)
    assert [run["item_set"] == data["runs"][1]["item_set"] for run in data["runs"]] == [False, True, True]
    for text in (page.text, shown):
        assert "graded: 12 items" in text
        assert "graded: 24 items" in text
        assert "These runs are not all of the same items" in text
    frontiers = [svg for svg in page.attributes("svg") if "frontier" in (svg["aria-labelledby"] or "")]
    assert len(frontiers) == 2 * 2
    _, _, alone = report(many, again)
    assert "not all of the same items" not in alone


def test_a_mode_of_fewer_items_is_on_no_line(tmp_path: Path) -> None:
    rows = [row(name, mode, turns=[turn(tokens)]) for name in "ab" for mode, tokens in (("auto", 10), ("long", 30))]
    whole, part = (
        write_run(tmp_path / name, [*rows, *more])
        for name, more in (("whole", [row("a", "short"), row("b", "short")]), ("part", [row("a", "short")]))
    )
    report(whole, drawn=True)
    report(part, drawn=True)
    named = [COIN_TOSS in (folder / "report.html").read_text() for folder in (whole, part)]
    assert named == [True, False]


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_is_cut_in_a_narrow_terminal(tmp_path: Path, width: int) -> None:
    modes = ("auto", "long", "short", "auto@-2.5")
    labels = ["a checkpoint of a long name", "another checkpoint"]
    folders = [write_run(tmp_path / label, synthetic_rows(170, modes), label=label, parameters=135e6) for label in labels]
    _, data, shown = report(*folders, width=width)
    assert max(map(len, shown.splitlines()[:-2])) <= width
    words = shown.split()
    for mode in (mode for run in data["runs"] for mode in run["modes"]):
        assert f"{100 * mode['figures']['accuracy']:.1f}" in words
        assert f"{mode['figures']['latency']['p99']:.2f}" in words or f"{mode['figures']['latency']['p99']:.1f}" in words


def test_the_items_of_a_page_show_question_answers_and_verdicts(tmp_path: Path) -> None:
    folder = graded_run(tmp_path)
    page, _, _ = report(folder)
    shown = [attributes for attributes in page.attributes("details") if attributes.get("class") == "item"]
    assert len(shown) == 24
    stored = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    for item in stored:
        assert f"user: {item['messages'][0]['content']}" in page.text
        assert item["gold"][0]["tool_calls"][0]["function"]["arguments"] in page.text
    attempts = [attributes for attributes in page.attributes("div") if attributes.get("class") == "attempt"]
    assert len(attempts) == 24 * 3
    solved = sum(json.loads(line)["score"] == 1 for line in (folder / "rows.jsonl").read_text().splitlines())
    assert sum(attributes["data-verdict"] == "solved" for attributes in attempts) == solved
    assert "Thinking of" in page.text


def test_the_items_of_a_page_say_which_thoughts_a_limit_cut(tmp_path: Path) -> None:
    page, _, _ = report(write_run(tmp_path, [row("a", "auto", turns=[turn(reasoning_truncated=True)])]))
    assert "solved (long, 10 tokens, thought cut by a limit)" in page.text


def test_the_policy_of_the_page_names_its_script(tmp_path: Path) -> None:
    folder = graded_run(tmp_path, 1)
    report(folder)
    page = (folder / "report.html").read_text()
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in page


def test_the_page_of_a_large_run_stays_small_and_shows_where_modes_differ(tmp_path: Path) -> None:
    rows = [
        row(
            f"item-{index}",
            mode,
            solved=index == 3000 and mode == "auto",
            answers=[{"role": "assistant", "content": "x" * 9000}],
        )
        for index in range(3001)
        for mode in ("auto", "long")
    ]
    page, _, _ = report(write_run(tmp_path, rows), drawn=True)
    shown = [attributes for attributes in page.attributes("details") if attributes.get("class") == "item"]
    assert 0 < len(shown) < 3001
    assert f"{len(shown)} of the 3001 items" in page.text
    assert page.text.index("item-3000") < page.text.index("item-0 ")
    assert "7,500 more characters" in page.text
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
