"""Runs for the tests of the report: hand-made rows, and synthetic runs of any size."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from autotool_bench import items as stored_items
from autotool_bench.suites import load_suite

CATEGORIES = (
    "simple",
    "multiple",
    "parallel",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "multi_turn_base",
    "multi_turn_miss_func",
)


def turn(generated: int = 10, **changed: Any) -> dict[str, Any]:
    defaults = {"resolved": "long", "p_long": None, "prompt_tokens": 100, "cached_tokens": None, "generated_tokens": generated}
    rest = {"reasoning_tokens": None, "content_tokens": None, "latency": 1.0, "calls": [], "finish_reason": "stop"}
    return defaults | rest | changed


def row(
    item: str, mode: str, *, solved: bool = True, turns: Sequence[dict[str, Any]] | None = None, **changed: Any
) -> dict[str, Any]:
    defaults = {"suite": "graded", "category": "level-1", "id": item, "mode": mode, "score": float(solved), "reason": None}
    return (
        defaults | {"error": None, "turns": [turn()] if turns is None else list(turns), "answers": [], "result": None} | changed
    )


def write_run(folder: Path, rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]], **about: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "suite": "graded",
        "url": "http://localhost:8000/v1",
        "model": "tiny",
        "label": None,
        "parameters": None,
        "seed": 0,
    }
    (folder / "run.json").write_text(json.dumps(defaults | about))
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def graded_run(folder: Path, count: int = 4, modes: Sequence[str] = ("auto", "long", "short"), **about: Any) -> Path:
    """Write a run of `graded` with its questions and answers: the first items of each level, with synthetic figures."""
    suite = load_suite("graded")
    items = [item for category in suite.categories for item in islice(suite.items(category), count)]
    rows = [*synthetic_rows(len(items), modes, suite.categories)]
    for index, line in enumerate(rows):
        item = items[index // len(modes)]
        line |= {
            "id": item.id,
            "category": item.category,
            "reason": None if line["score"] else "other calls than the gold ones",
        }
        answers = [reply.message() for reply in suite.gold(item, corrupted=not line["score"])]
        thought = {"reasoning": f"Thinking of {item.id}."} if line["turns"] and line["turns"][0]["resolved"] == "long" else {}
        line["answers"] = [answer | thought for answer in answers] if line["turns"] else []
    defaults = {"modes": [*modes], "items": len(items), "started": "2026-11-28T10:00:00Z"}
    write_run(folder, rows, **(defaults | about))
    stored_items.write(folder, suite, items)
    return folder


def synthetic_rows(
    items: int, modes: Sequence[str] = ("auto", "long", "short"), categories: Sequence[str] = CATEGORIES, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield rows of items whose difficulty rises: long solves more of them, auto mostly chooses well, a few attempts fail."""
    rng = random.Random(seed)  # noqa: S311 not a secret
    for number in range(items):
        place = number % len(categories)
        difficulty = min(0.98, 0.1 + 0.8 * place / len(categories) + rng.uniform(-0.15, 0.25))
        solves = {"long": rng.random() < 0.95 - 0.6 * difficulty, "short": rng.random() < 0.95 - 1.0 * difficulty}
        log_odds = 5 * (difficulty - 0.5) + rng.gauss(0, 1)
        for mode in modes:
            yield row(f"item-{number}", mode, category=categories[place], **_attempt(mode, place, solves, log_odds, rng))


def _attempt(mode: str, place: int, solves: dict[str, bool], log_odds: float, rng: random.Random) -> dict[str, Any]:
    name, _, bias = mode.partition("@")
    resolved = name if name in solves else "long" if log_odds + float(bias or 0) > 0 else "short"
    if rng.random() < 0.01:
        return {"solved": False, "turns": [], "error": "Request timed out."}
    p_long = 1 / (1 + math.exp(-log_odds)) if name == "auto" else None
    return {
        "solved": solves[resolved],
        "turns": [_turn(resolved, p_long, place / 8, rng) for _ in range(3 if place > 5 else 1)],
    }


def _turn(resolved: str, p_long: float | None, difficulty: float, rng: random.Random) -> dict[str, Any]:
    reasoning = int(rng.lognormvariate(4.2 + difficulty, 0.5)) if resolved == "long" else 0
    content = rng.randint(20, 45)
    generated = reasoning + content + (resolved == "short" and p_long is not None)
    tokens = {
        "reasoning_tokens": reasoning,
        "content_tokens": content,
        "prompt_tokens": rng.randint(300, 900),
        "cached_tokens": rng.randint(0, 300),
    }
    return turn(generated, resolved=resolved, p_long=p_long, latency=0.05 + generated * 0.012 * rng.uniform(0.8, 1.5), **tokens)


def official_of(folder: Path, modes: Sequence[str]) -> dict[str, Any]:
    """Return the official figures of a run's rows."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    return {mode: _official([row for row in rows if row["mode"] == mode]) for mode in modes}


def _official(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row["category"], []).append(row["score"])
    categories = {name: {"accuracy": sum(values) / len(values), "count": len(values)} for name, values in scores.items()}
    figures = {"overall": 0.512, "non_live": 0.744, "live": 0.61, "multi_turn": 0.1825}
    return {"categories": categories, **figures, "left_out": ["web_search_base", "memory_kv"]}
