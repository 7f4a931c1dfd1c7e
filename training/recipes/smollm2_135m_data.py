"""Parts of the data of smollm2-135m: which tools of `seal_apis` each stage sees, and which records.

    python training/recipes/smollm2_135m_data.py apis seal_tools_apis.jsonl seal_tools_out_domain.jsonl smol
    python training/recipes/smollm2_135m_data.py deal smol
    python training/recipes/smollm2_135m_data.py more smol
    python training/recipes/smollm2_135m_data.py tried smol
    python training/recipes/smollm2_135m_data.py again smol

`apis` leaves out the tools that Seal-Tools' out-of-domain test calls, and deals the rest to files. `deal` makes of the
files of records, which `autotool train data` has written, those of the stages: practice, sft and rl; `more`, what sft
learns without its having been tried, and what rl has beside; `tried` the graded tasks that what rl made tries again, and
`again` what the second SFT learns, behind rl, and `held.jsonl`, to choose by between what was trained.
"""

import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

APIS: Mapping[str, slice] = {"one": slice(0, 400), "many": slice(400, 2300), "later": slice(2300, None)}
"""Which of the tools, by the file. Practice has requests of those of `one`, one tool offered at a time, and of `many`, of
several; sft and rl have requests of those of `later`, which no request of practice calls."""

THOUGHT = 0.3
"""Share of the requests of practice that are learnt with reasoning too."""
LOOKED_UP = (1, 2)
"""Levels of `graded` of which practice has answers without reasoning: what is above them has to be derived."""
NATURAL = (1150, 1400)
"""How far the records of the other data sets go to practice, and then to sft; the rest is rl's."""
MORE: Mapping[str, int] = {"one": 150, "many": 200}
"""How many requests of the tools of `later`, one tool offered at a time and several, sft learns beside what is labelled."""
MORE_RL: Mapping[str, int] = {"one": 300, "many": 200}
"""How many of those that follow rl has beside its own."""
AGAIN: Mapping[str, tuple[str, str, int]] = {
    "one": ("one", r"-\w+$", 5500),
    "retold": ("told", r"-retold$", 1000),
    "back": ("told", r"-back$", 700),
    "told": ("told", r"-(?!retold|back)\w+$", 4000),
    "many": ("many", r"-(?!afresh)\w+$", 2500),
}
"""What the second SFT learns short: of which file, of which kinds (the end of their IDs), how many. `one` has the tools of
`later`, one offered at a time, `told` those of practice, likewise, and `many` those of `later`, several offered: there one
could be for the request that one of `afresh` stands behind."""
AGAIN_LONG = 400
"""How many of those with several tools it learns with reasoning too."""
HELD = 80
"""How many of the tools of `later`, the last, it has no request of."""
HELD_REQUESTS = 400
"""How many requests of these `held.jsonl` has."""


def main(task: str, *places: str) -> None:
    """Run one of the tasks of the command line."""
    {"apis": apis, "deal": deal, "more": more, "tried": tried, "again": again}[task](*map(Path, places))


def apis(described: Path, tested: Path, out: Path) -> None:
    """Write the descriptions of the tools that are not tested, in parts."""
    called = {call["api"] for line in _lines(tested) for call in json.loads(line)["calling"]}
    rows = [line for line in _lines(described) if json.loads(line)["api_name"] not in called]
    random.Random(0).shuffle(rows)  # noqa: S311 not a secret
    for name, part in APIS.items():
        (out / f"{name}.jsonl").write_text("".join(rows[part]))


def deal(folder: Path) -> None:
    """Write `practice.jsonl`, labelled, `sft.jsonl` and `rl.jsonl`, and `tasks.jsonl`, the graded ones that are left."""
    draw = random.Random(0)  # noqa: S311 not a secret
    natural, many, graded, plain = (
        _shuffled(folder / f"{name}.jsonl", draw) for name in ("natural", "sft-many", "sft-graded", "plain")
    )
    first, second = NATURAL
    asked = [line for name in ("one", "many", "wide") for line in _lines(folder / f"practice-{name}.jsonl")]
    tasks = _lines(folder / "practice-graded.jsonl")
    _write(folder / "practice.jsonl", [*_asked(asked + natural[:first], draw), *_tasks(tasks), *plain], draw)
    _write(folder / "sft.jsonl", [*many[:700], *graded[:720], *natural[first:second]], draw)
    _write(folder / "rl.jsonl", [*many[700:1200], *graded[720:1200], *natural[second:]], draw)
    (folder / "tasks.jsonl").write_text("".join(graded[1200:]))


def more(folder: Path) -> None:
    """Write `more.jsonl`, labelled, and `rl-more.jsonl`."""
    asked = {name: _lines(folder / f"more-{name}.jsonl") for name in MORE}
    first = [_labelled(line, "short") for name, most in MORE.items() for line in asked[name][:most]]
    _write(folder / "more.jsonl", first, random.Random(0))  # noqa: S311 not a secret
    following = [line for name, most in MORE.items() for line in asked[name][most : most + MORE_RL[name]]]
    (folder / "rl-more.jsonl").write_text("".join(following))


def again(folder: Path) -> None:
    """Write `again.jsonl`, labelled: new requests, and of the other sets what practice and the first SFT learnt.

    And `held.jsonl`: requests written for tools of which it has none, and records of the other sets that rl had and no SFT.
    """
    draw = random.Random(0)  # noqa: S311 not a secret
    tools = [json.loads(line)["api_name"] for line in _lines(folder / "later.jsonl")]
    found = {file: _offers_shuffled(folder / f"again-{file}.jsonl", draw) for file in ("one", "told", "many")}
    new = {file: [line for line in lines if not _is_held(line, tools)] for file, lines in found.items()}
    others = [line for line in _learnt(folder) if not _is_held(line, tools)]
    made = [*_requests(new), *others, *_decided(folder)]
    _write(folder / "again.jsonl", made, draw)
    unseen = [line for line in found["one"] if _is_held(line, tools)]
    draw.shuffle(unseen)
    _write_held(folder, unseen[:HELD_REQUESTS], {_text(line) for line in made})


def _requests(new: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, (file, kinds, most) in AGAIN.items():
        asked = [line for line in new[file] if re.search(kinds, json.loads(line)["id"])][:most]
        yield from (_labelled(line, "short") for line in asked)
        if name == "many":
            yield from (_labelled(line, "long") for line in asked[:AGAIN_LONG])


def _learnt(folder: Path) -> Sequence[str]:
    """What practice and the first SFT learnt of the other sets, and of the graded tasks that are not tried again."""
    labelled = [line for line in _others(folder / "labelled.jsonl", but=("seal_apis",)) if not _tried(line)]
    return [*_others(folder / "practice.jsonl", but=("seal_apis", "graded")), *labelled]


def _decided(folder: Path) -> Sequence[str]:
    """Graded tasks that no stage had, and those that were tried."""
    derived = [_labelled(line, "long") for line in _lines(folder / "tasks.jsonl") if not _is_looked_up(line)]
    return [*derived, *_lines(folder / "again-graded.jsonl")]


def _write_held(folder: Path, unseen: Sequence[str], learnt: Set[str]) -> None:
    natural = _others(folder / "rl.jsonl", but=("seal_apis", "graded"))
    left = [line for line in [*unseen, *natural] if _text(line) not in learnt]
    (folder / "held.jsonl").write_text("".join(left))


def tried(folder: Path) -> None:
    """Write `again-tried.jsonl`: graded tasks that may be learnt short, to be tried by what RL made.

    They are those that the first SFT learnt short, and those of these levels that no stage had.
    """
    short = [line for line in _lines(folder / "labelled.jsonl") if _tried(line)]
    new = [line for line in _lines(folder / "tasks.jsonl") if _is_looked_up(line)]
    (folder / "again-tried.jsonl").write_text("".join(_unlabelled(line) for line in [*short, *new]))


def _is_held(line: str, tools: Sequence[str]) -> bool:
    """Whether it calls a held tool, or was written for one: it may be refused, with other tools. `tools` are `later`'s."""
    record = json.loads(line)
    written = re.match(r"seal_apis/later/(\d+)/", record["id"])
    asked = {call["name"] for call in record["calls"] or ()} | ({tools[int(written[1]) - 1]} if written else set())
    return not asked.isdisjoint(tools[-HELD:])


def _text(line: str) -> str:
    return json.dumps(json.loads(line)["messages"])


def _is_looked_up(line: str) -> bool:
    return json.loads(line)["level"] in LOOKED_UP


def _unlabelled(line: str) -> str:
    return json.dumps({**json.loads(line), "label": None}) + "\n"


def _others(path: Path, *, but: Sequence[str]) -> Sequence[str]:
    return [line for line in _lines(path) if json.loads(line)["source"] not in but]


def _tried(line: str) -> bool:
    record = json.loads(line)
    return (record["source"], record["label"]) == ("graded", "short")


def _asked(lines: Sequence[str], draw: random.Random) -> Iterator[str]:
    for line in lines:
        yield _labelled(line, "short")
        if json.loads(line).get("reasoning") and draw.random() < THOUGHT:
            yield _labelled(line, "long")


def _tasks(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield _labelled(line, "long")
        if _is_looked_up(line):
            yield _labelled(line, "short")


def _labelled(line: str, label: str) -> str:
    record = json.loads(line)
    return json.dumps(record | {"id": f"{record['id']}/{label}", "label": label}) + "\n"


def _shuffled(path: Path, draw: random.Random) -> list[str]:
    lines = _lines(path)
    draw.shuffle(lines)
    return lines


def _offers_shuffled(path: Path, draw: random.Random) -> list[str]:
    """Shuffled, but for those that are offered the same tools: what training shares stays together."""
    offers = defaultdict[str, list[str]](list)
    for line in _lines(path):
        offers[json.dumps(json.loads(line)["tools"])].append(line)
    return [line for offer in draw.sample([*offers.values()], len(offers)) for line in offer]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def _write(path: Path, lines: Sequence[str], draw: random.Random) -> None:
    mixed = [*lines]
    draw.shuffle(mixed)
    path.write_text("".join(mixed))


if __name__ == "__main__":
    main(*sys.argv[1:])
