"""Parts of the data of smollm2-135m: which tools of `seal_apis` each stage sees, and which records.

    python training/recipes/smollm2_135m_data.py apis seal_tools_apis.jsonl seal_tools_out_domain.jsonl smol
    python training/recipes/smollm2_135m_data.py deal smol

`apis` leaves out the tools that Seal-Tools' out-of-domain test calls, and deals the rest to files. `deal` makes of the
files of records, which `autotool train data` has written, those of the stages: four of practice, sft and rl.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

APIS: Mapping[str, slice] = {
    "s1a": slice(0, 130),
    "s1b": slice(130, 1700),
    "q1a": slice(130, 430),
    "q1b": slice(130, 1700),
    "s2c": slice(1700, 1740),
    "s2d": slice(1740, None),
}
"""Which of the tools, by the file; a record's id, by which distractors are drawn, has the file's name.

The first two practices have requests of those of `s1a` and `q1a`, one tool offered at a time, and of `s1b` and `q1b`, of
several; the third has `s2c` and `s2d` likewise, and sft and rl have `s2d` alone."""


def main(task: str, *places: str) -> None:
    """Run one of the two tasks of the command line."""
    if task == "apis":
        described, tested, out = map(Path, places)
        apis(described, tested, out)
    else:
        deal(Path(*places))


def apis(described: Path, tested: Path, out: Path) -> None:
    """Write the descriptions of the tools that are not tested, in parts."""
    called = {call["api"] for line in _lines(tested) for call in json.loads(line)["calling"]}
    rows = [line for line in _lines(described) if json.loads(line)["api_name"] not in called]
    random.Random(0).shuffle(rows)  # noqa: S311 not a secret
    for name, part in APIS.items():
        (out / f"{name}.jsonl").write_text("".join(rows[part]))


def deal(folder: Path) -> None:
    """Write `practice.jsonl`, `practice-2.jsonl` to `practice-4.jsonl`, `sft.jsonl` and `rl.jsonl`."""
    natural = _lines(folder / "natural.jsonl")
    draw = random.Random(0)  # noqa: S311 not a secret
    draw.shuffle(natural)
    one, many, graded = (_lines(folder / f"practice-{name}.jsonl") for name in ("one", "many", "graded"))
    _write(folder / "practice.jsonl", [*one, *graded, *many[:1200], *natural[:450]], draw)
    one, many = (_lines(folder / f"practice-2-{name}.jsonl") for name in ("one", "many"))
    _write(folder / "practice-2.jsonl", [*one, *many[:1130], *natural[1320:]], random.Random(7))  # noqa: S311 not a secret
    draw = random.Random(1)  # noqa: S311 not a secret
    one, many, graded = (_offers(folder / f"sft-{name}.jsonl", draw) for name in ("one", "many", "graded"))
    plain = _lines(folder / "plain.jsonl")
    _write(folder / "practice-3.jsonl", [*one, *many[:200], *graded[:150], *natural[450:580], *plain], draw)
    _write(folder / "sft.jsonl", [*many[200:480], *graded[150:430], *natural[580:720]], draw)
    _write(folder / "rl.jsonl", [*many[480:680], *graded[430:630], *natural[720:820]], draw)
    seen = [*one, *many[:200], *natural[450:580]]
    draw.shuffle(seen)
    _write(folder / "practice-4.jsonl", _fourth(folder, seen), draw)


def _fourth(folder: Path, seen: Sequence[str]) -> list[str]:
    """Graded tasks with reasoning; of requests that the third practice had, 250 without and up to 120 with it."""
    graded = [_labelled(line, "long") for line in _lines(folder / "practice-4-graded.jsonl")[:1150]]
    short = [_labelled(line, "short") for line in seen[:250]]
    return [*graded, *short, *(_labelled(line, "long") for line in seen[250:370] if json.loads(line).get("reasoning"))]


def _labelled(line: str, label: str) -> str:
    return json.dumps(json.loads(line) | {"label": label}) + "\n"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def _offers(path: Path, draw: random.Random) -> list[str]:
    """The records in random order, those that are offered the same tools one after another."""
    offers: dict[str, list[str]] = defaultdict(list)
    for line in _lines(path):
        offers[json.dumps(json.loads(line)["tools"])].append(line)
    shuffled = list(offers.values())
    draw.shuffle(shuffled)
    return [line for offer in shuffled for line in offer]


def _write(path: Path, lines: Sequence[str], draw: random.Random) -> None:
    mixed = [*lines]
    draw.shuffle(mixed)
    path.write_text("".join(mixed))


if __name__ == "__main__":
    main(*sys.argv[1:])
