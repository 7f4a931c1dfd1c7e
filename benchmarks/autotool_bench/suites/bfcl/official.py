"""The official figures of a run: write its rows as result files, run `bfcl evaluate`, read its score files.

An item that ended in an error is written to the result file as `bfcl generate` writes it: the text "Error during inference: …".
In the irrelevance categories the official rule counts every text as right, so there it is written as a call of
`unanswered_item`: the official run then counts it as wrong, and its denominators include the item. Without such items every
figure would be one of the answered items only.
"""

import csv
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from autotool_bench.suites.bfcl import categories, environment
from autotool_core.errors import AutoToolError

_PREFIX = "BFCL_v4"
_MAX_LISTED = 10


def unanswered(category: str, error: str | None) -> Any:
    """Return the result-file entry of an unanswered item, which the official rule counts as wrong."""
    if categories.is_irrelevance(category):
        return [{"unanswered_item": json.dumps({"error": error})}]
    return f"Error during inference: {error}"


def evaluate(python: Path, folder: Path, model: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the official figures of one mode's rows; {} without rows. Result and score files stay in `folder`.

    Raises AutoToolError if `bfcl evaluate` fails, or if a verdict of it differs from the row's.
    """
    shutil.rmtree(folder, ignore_errors=True)  # the official table includes every score file in the folder
    scores = _write(folder / "result" / model.replace("/", "_"), rows)
    if not scores:
        return {}
    _run(python, folder, model, scores)
    score_files = {category: _score_file(folder / "score" / model.replace("/", "_"), category) for category in scores}
    for category, (_, wrong) in score_files.items():
        _compare(category, scores[category], wrong)
    return _figures(folder / "score", {category: header for category, (header, _) in score_files.items()})


def _write(folder: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, bool]]:
    """Write the result files; return by category and id whether the row is solved."""
    scores: dict[str, dict[str, bool]] = {}
    with ExitStack() as stack:
        files: dict[str, TextIO] = {}
        for row in rows:
            category = row["category"]
            if category not in files:
                path = _path(folder, category, "result")
                path.parent.mkdir(parents=True, exist_ok=True)
                files[category] = stack.enter_context(path.open("w", encoding="utf-8"))
            files[category].write(json.dumps(_entry(row)) + "\n")
            scores.setdefault(category, {})[row["id"]] = row["score"] == 1
    return {category: scores[category] for category in categories.select(scores)} if scores else {}


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["error"] is None:
        return {"id": row["id"], "result": row["result"]}
    return {"id": row["id"], "result": unanswered(row["category"], row["error"])}


def _path(folder: Path, category: str, kind: str) -> Path:
    return folder / categories.group(category) / f"{_PREFIX}_{category}_{kind}.json"


def _run(python: Path, folder: Path, model: str, chosen: Iterable[str]) -> None:
    log = folder / "evaluate.log"
    command = [python, "-I", "-X", "utf8", "-m", "bfcl_eval", "evaluate", "--partial-eval"]
    command += ["--model", model, "--test-category", ",".join(chosen)]
    with log.open("wb") as out:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command,
            cwd=folder,
            env=environment.variables(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
    if done.returncode != 0:
        raise AutoToolError(f"`bfcl evaluate` ended with status {done.returncode}: see its log, {log}.")


def _score_file(folder: Path, category: str) -> tuple[dict[str, Any], set[str]]:
    """Return the head of a score file, and the ids that it counts as wrong."""
    path = _path(folder, category, "score")
    if not path.exists():
        raise AutoToolError(f"`bfcl evaluate` wrote no {path}.")
    with path.open(encoding="utf-8") as lines:
        head = json.loads(next(lines))
        return head, {json.loads(line)["id"] for line in lines}


def _compare(category: str, scores: Mapping[str, bool], wrong: set[str]) -> None:
    """Raise AutoToolError unless the official run agrees with every row."""
    differing = [item for item, solved in scores.items() if solved == (item in wrong)]
    if differing or not wrong <= scores.keys():
        listed = ", ".join([*differing, *(wrong - scores.keys())][:_MAX_LISTED])
        raise AutoToolError(
            f"`bfcl evaluate` and the run's rows disagree in {category} ({listed}): the rows were scored by another release of "
            "bfcl-eval, or were changed. Run the items again."
        )


def _figures(folder: Path, heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    overall, non_live = _table(folder / "data_overall.csv"), _table(folder / "data_non_live.csv")
    weighed = {
        "non_live": non_live["Non-Live Overall Acc"],
        "live": overall["Live Acc"],
        "multi_turn": overall["Multi Turn Acc"],
    }
    run = {categories.group(category) for category in heads}
    return {
        "scorer": f"bfcl-eval {environment.VERSION}",
        # The leaderboard counts a category that was not run as 0, here and in its group.
        "overall": _share(overall["Overall Acc"]),
        **{group: _share(figure) if group in run else None for group, figure in weighed.items()},
        "categories": {name: {"accuracy": head["accuracy"], "count": head["total_count"]} for name, head in heads.items()},
        "left_out": [name for name in (*categories.select(["all"]), *categories.OTHERS) if name not in heads],
    }


def _table(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as lines:
        return next(csv.DictReader(lines))


def _share(percent: str) -> float:
    """Convert a figure of the official tables, in per cent with two decimals, to a share of 1."""
    return round(float(percent.removesuffix("%")) / 100, 4)
