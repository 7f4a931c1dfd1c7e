"""The items of runs with their attempts, for a reader: what was asked, what was expected, what each mode answered."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autotool_bench import items, rows

Verdict = Literal["solved", "wrong", "error"]
Labels = Mapping[str, str]
"""The label of each mode of a run."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at an item in a mode."""

    series: int
    """Index of the run's mode among all modes of all runs: labels need not differ."""
    label: str
    """The mode, with its run where there are several."""
    mode: str
    verdict: Verdict
    reason: str | None
    """Why the item is not solved; None for a solved item."""
    resolved: str
    """`long` or `short`, or both for an attempt of several turns; empty if no turn was answered."""
    tokens: int
    """Generated tokens of all turns."""
    cut: bool
    """Whether an answer was cut at the maximum of tokens."""
    thought_cut: bool
    """Whether a limit of tokens ended a thought."""
    reasoning: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemAttempts:
    """An item with its attempts. An item of a run that stored no questions has none, and no gold answers."""

    id: str
    category: str
    question: tuple[str, ...]
    turns: int
    """The user's turns; the question is the first of them."""
    tools: tuple[str, ...]
    gold: tuple[str, ...]
    """The gold answers, or in words which answers solve the item."""
    attempts: tuple[Attempt, ...]


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a row."""
    if row["error"] is not None:
        return "error"
    return "solved" if row["score"] >= 1.0 else "wrong"


def read_items(runs: Sequence[tuple[Path, Labels]], ids: Collection[str]) -> Iterator[ItemAttempts]:
    """Read items of runs with the attempts of the labelled modes, in the order of `ids`."""
    categories: dict[str, str] = {}
    attempts: dict[str, list[Attempt]] = {name: [] for name in ids}
    stored = {item["id"]: item for folder, _ in runs for item in items.read(folder) if item["id"] in attempts}
    first = 0
    for folder, labels in runs:
        series = {mode: first + index for index, mode in enumerate(labels)}
        first += len(labels)
        for row in rows.read(folder):
            if row["id"] in attempts and row["mode"] in labels:
                categories[row["id"]] = row["category"]
                attempts[row["id"]].append(_attempt(row, series[row["mode"]], labels[row["mode"]]))
    for name in ids:
        found = sorted(attempts[name], key=lambda attempt: attempt.series)
        yield _item(name, categories.get(name, ""), stored.get(name, {}), found)


def _item(name: str, category: str, stored: Mapping[str, Any], attempts: Sequence[Attempt]) -> ItemAttempts:
    return ItemAttempts(
        id=name,
        category=category,
        question=tuple(f"{message['role']}: {message_text(message)}" for message in stored.get("messages", ())),
        turns=stored.get("turns", 1),
        tools=tuple(stored.get("tools", ())),
        gold=(rule,) if (rule := stored.get("rule")) else tuple(message_text(message) for message in stored.get("gold", ())),
        attempts=tuple(attempts),
    )


def _attempt(row: Mapping[str, Any], series: int, label: str) -> Attempt:
    turns, answers = row["turns"], row["answers"]
    resolved = {turn["resolved"]: None for turn in turns if turn["resolved"]}
    return Attempt(
        series=series,
        label=label,
        mode=row["mode"],
        verdict=verdict_of(row),
        reason=row["error"] or row["reason"],
        resolved=" and ".join(resolved),
        tokens=sum(turn["generated_tokens"] for turn in turns),
        cut=is_answer_cut(row),
        thought_cut=is_thought_cut(row),
        reasoning=tuple(reasoning for message in answers if (reasoning := (message.get("reasoning") or "").strip())),
        answers=tuple(message_text(message) for message in answers),
    )


def is_answer_cut(row: Mapping[str, Any]) -> bool:
    """Return whether an answer of the row ended at its maximum of tokens."""
    return any(turn["finish_reason"] == "length" for turn in row["turns"])


def is_thought_cut(row: Mapping[str, Any]) -> bool:
    """Return whether a limit of tokens ended a thought of the row. Rows of other servers do not say so."""
    return any(turn.get("reasoning_truncated") for turn in row["turns"])


def asked(item: ItemAttempts) -> str:
    """Name the question of an item: "question", or which of its turns it is."""
    return "question" if item.turns == 1 else f"first of {item.turns} turns"


def message_text(message: Mapping[str, Any]) -> str:
    """Return a message's content, and below it each of its calls as `name(arguments)`."""
    content = message.get("content") or ""
    parts = [content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)]
    functions = (call["function"] for call in message.get("tool_calls") or ())
    parts += [f"{function['name']}({function['arguments']})" for function in functions]
    return "\n".join(part.strip() for part in parts if part.strip()) or "(empty)"


def order_of_interest(verdicts: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """Return the ids of items, those first on which the attempts differ, then those that none solves."""
    return sorted(verdicts, key=lambda name: _interest(verdicts[name]))


def _interest(verdicts: Sequence[Verdict]) -> int:
    solved = verdicts.count("solved")
    return 2 if solved == len(verdicts) else 1 if solved == 0 else 0


def read_verdicts(runs: Sequence[tuple[Path, Labels]]) -> dict[str, list[Verdict]]:
    """Return the verdicts of each item, over all runs and labelled modes."""
    verdicts: dict[str, list[Verdict]] = {}
    for folder, labels in runs:
        for row in rows.read(folder):
            if row["mode"] in labels:
                verdicts.setdefault(row["id"], []).append(verdict_of(row))
    return verdicts
