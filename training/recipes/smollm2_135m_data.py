"""Splits the data of smollm2-135m: decides which `seal_apis` tools and which records each stage gets.

    python training/recipes/smollm2_135m_data.py tools seal_tools_apis.jsonl seal_tools_out_domain.jsonl smol
    python training/recipes/smollm2_135m_data.py split smol
    python training/recipes/smollm2_135m_data.py more smol
    python training/recipes/smollm2_135m_data.py tried smol
    python training/recipes/smollm2_135m_data.py again smol

`tools` excludes the tools that Seal-Tools' out-of-domain test calls, and splits the others into files. `split` combines the
files of `autotool train data` into one file for each of the stages practice, sft and rl. `more` writes additional requests for
sft, without labelling attempts, and for rl. `tried` writes the graded tasks that the model attempts after rl. `again` writes
the records of the second SFT after rl, and `held.jsonl`, the held-out records for the selection between trained models.
"""

import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

APIS: Mapping[str, slice] = {"one": slice(0, 400), "many": slice(400, 2300), "later": slice(2300, None)}
"""The slice of the tools in each file. Practice has requests with a single offered tool from `one`, and with several from
`many`. sft and rl have requests for the tools of `later`, which no request of practice calls."""

REASONING_SHARE = 0.3
"""The share of the requests of practice that are also learnt with reasoning."""
LOOKUP_LEVELS = (1, 2)
"""The levels of `graded` that practice also answers without reasoning. Higher levels need a derivation."""
NATURAL_SPLIT = (1150, 1400)
"""Where the records of the other data sets are split between practice, sft and rl."""
MORE_SFT: Mapping[str, int] = {"one": 150, "many": 200}
"""The numbers of additional requests for `later` tools in sft, with a single offered tool and with several."""
MORE_RL: Mapping[str, int] = {"one": 300, "many": 200}
"""The numbers of the following requests that rl gets in addition."""
SFT2: Mapping[str, tuple[str, str, int]] = {
    "one": ("one", r"-\w+$", 5500),
    "retold": ("told", r"-retold$", 1000),
    "back": ("told", r"-back$", 700),
    "told": ("told", r"-(?!retold|back)\w+$", 4000),
    "many": ("many", r"-(?!afresh)\w+$", 2500),
}
"""The requests that the second SFT learns short: file, pattern of the kinds (the end of the id), maximum number.
`one` has the tools of `later` with a single offered tool, `told` those of practice likewise, and `many` those of `later` with
several offered tools. `many` excludes `afresh`, because an offered tool could serve the earlier, refused request."""
SFT2_LONG = 400
"""The number of the requests with several tools that are also learnt with reasoning."""
HELD_OUT_TOOLS = 80
"""The number of tools at the end of `later` that the second SFT has no requests for."""
HELD_OUT_REQUESTS = 400
"""The maximum number of requests for these tools in `held.jsonl`."""


def main(task: str, *paths: str) -> None:
    """Run one of the tasks of the command line."""
    {"tools": split_tools, "split": split, "more": write_more, "tried": write_tried, "again": write_sft2}[task](
        *map(Path, paths)
    )


def split_tools(descriptions: Path, test_file: Path, out: Path) -> None:
    """Write the descriptions of the tools that are not tested to the files of APIS."""
    called = {call["api"] for line in _lines(test_file) for call in json.loads(line)["calling"]}
    rows = [line for line in _lines(descriptions) if json.loads(line)["api_name"] not in called]
    random.Random(0).shuffle(rows)  # noqa: S311 not a secret
    for name, part in APIS.items():
        (out / f"{name}.jsonl").write_text("".join(rows[part]))


def split(folder: Path) -> None:
    """Write `practice.jsonl` with labels, `sft.jsonl`, `rl.jsonl`, and the remaining graded tasks as `tasks.jsonl`."""
    rng = random.Random(0)  # noqa: S311 not a secret
    natural, many, graded, plain = (
        _shuffled(folder / f"{name}.jsonl", rng) for name in ("natural", "sft-many", "sft-graded", "plain")
    )
    first, second = NATURAL_SPLIT
    requests = [line for name in ("one", "many", "wide") for line in _lines(folder / f"practice-{name}.jsonl")]
    tasks = _lines(folder / "practice-graded.jsonl")
    _write(
        folder / "practice.jsonl", [*_labelled_requests(requests + natural[:first], rng), *_labelled_tasks(tasks), *plain], rng
    )
    _write(folder / "sft.jsonl", [*many[:700], *graded[:720], *natural[first:second]], rng)
    _write(folder / "rl.jsonl", [*many[700:1200], *graded[720:1200], *natural[second:]], rng)
    (folder / "tasks.jsonl").write_text("".join(graded[1200:]))


def write_more(folder: Path) -> None:
    """Write `more.jsonl` with labels, and `rl-more.jsonl`."""
    requests = {name: _lines(folder / f"more-{name}.jsonl") for name in MORE_SFT}
    first = [_labelled(line, "short") for name, max_requests in MORE_SFT.items() for line in requests[name][:max_requests]]
    _write(folder / "more.jsonl", first, random.Random(0))  # noqa: S311 not a secret
    following = [
        line for name, max_requests in MORE_SFT.items() for line in requests[name][max_requests : max_requests + MORE_RL[name]]
    ]
    (folder / "rl-more.jsonl").write_text("".join(following))


def write_sft2(folder: Path) -> None:
    """Write `again.jsonl` with labels: new requests, and the other records that practice and the first SFT learnt.

    Also write `held.jsonl`: requests for the held-out tools, and records of the other sets that only rl had.
    """
    rng = random.Random(0)  # noqa: S311 not a secret
    tools = [json.loads(line)["api_name"] for line in _lines(folder / "later.jsonl")]
    by_file = {file: _tool_sets_shuffled(folder / f"again-{file}.jsonl", rng) for file in ("one", "told", "many")}
    new = {file: [line for line in lines if not _is_held_out(line, tools)] for file, lines in by_file.items()}
    others = [line for line in _learnt_records(folder) if not _is_held_out(line, tools)]
    lines = [*_sft2_requests(new), *others, *_graded_records(folder)]
    _write(folder / "again.jsonl", lines, rng)
    unseen_requests = [line for line in by_file["one"] if _is_held_out(line, tools)]
    rng.shuffle(unseen_requests)
    _write_held_out(folder, unseen_requests[:HELD_OUT_REQUESTS], {_text(line) for line in lines})


def _sft2_requests(new: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, (file, kinds, max_requests) in SFT2.items():
        requests = [line for line in new[file] if re.search(kinds, json.loads(line)["id"])][:max_requests]
        yield from (_labelled(line, "short") for line in requests)
        if name == "many":
            yield from (_labelled(line, "long") for line in requests[:SFT2_LONG])


def _learnt_records(folder: Path) -> Sequence[str]:
    """Return what practice and the first SFT learnt, without `seal_apis` and without graded tasks to be tried."""
    labelled = [line for line in _other_sources(folder / "labelled.jsonl", without=("seal_apis",)) if not _is_tried(line)]
    return [*_other_sources(folder / "practice.jsonl", without=("seal_apis", "graded")), *labelled]


def _graded_records(folder: Path) -> Sequence[str]:
    """Return the graded tasks that no stage had, and those that were tried."""
    derived = [_labelled(line, "long") for line in _lines(folder / "tasks.jsonl") if not _is_looked_up(line)]
    return [*derived, *_lines(folder / "again-graded.jsonl")]


def _write_held_out(folder: Path, unseen_requests: Sequence[str], learnt: Set[str]) -> None:
    natural = _other_sources(folder / "rl.jsonl", without=("seal_apis", "graded"))
    held_out = [line for line in [*unseen_requests, *natural] if _text(line) not in learnt]
    (folder / "held.jsonl").write_text("".join(held_out))


def write_tried(folder: Path) -> None:
    """Write `again-tried.jsonl`: graded tasks that may be learnt short if the model solves them after RL.

    They are the tasks that the first SFT learnt short, and the tasks of the lookup levels that no stage had.
    """
    short = [line for line in _lines(folder / "labelled.jsonl") if _is_tried(line)]
    new = [line for line in _lines(folder / "tasks.jsonl") if _is_looked_up(line)]
    (folder / "again-tried.jsonl").write_text("".join(_unlabelled(line) for line in [*short, *new]))


def _is_held_out(line: str, tools: Sequence[str]) -> bool:
    """Return whether the record calls a held-out tool or was generated for one. `tools` are the names in `later`."""
    record = json.loads(line)
    generated = re.match(r"seal_apis/later/(\d+)/", record["id"])
    names = {call["name"] for call in record["calls"] or ()} | ({tools[int(generated[1]) - 1]} if generated else set())
    return not names.isdisjoint(tools[-HELD_OUT_TOOLS:])


def _text(line: str) -> str:
    return json.dumps(json.loads(line)["messages"])


def _is_looked_up(line: str) -> bool:
    return json.loads(line)["level"] in LOOKUP_LEVELS


def _unlabelled(line: str) -> str:
    return json.dumps({**json.loads(line), "label": None}) + "\n"


def _other_sources(path: Path, *, without: Sequence[str]) -> Sequence[str]:
    return [line for line in _lines(path) if json.loads(line)["source"] not in without]


def _is_tried(line: str) -> bool:
    record = json.loads(line)
    return (record["source"], record["label"]) == ("graded", "short")


def _labelled_requests(lines: Sequence[str], rng: random.Random) -> Iterator[str]:
    for line in lines:
        yield _labelled(line, "short")
        if json.loads(line).get("reasoning") and rng.random() < REASONING_SHARE:
            yield _labelled(line, "long")


def _labelled_tasks(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield _labelled(line, "long")
        if _is_looked_up(line):
            yield _labelled(line, "short")


def _labelled(line: str, label: str) -> str:
    record = json.loads(line)
    return json.dumps(record | {"id": f"{record['id']}/{label}", "label": label}) + "\n"


def _shuffled(path: Path, rng: random.Random) -> list[str]:
    lines = _lines(path)
    rng.shuffle(lines)
    return lines


def _tool_sets_shuffled(path: Path, rng: random.Random) -> list[str]:
    """Return the lines with their tool sets shuffled. A tool set stays together, because training shares its prefix."""
    tool_sets = defaultdict[str, list[str]](list)
    for line in _lines(path):
        tool_sets[json.dumps(json.loads(line)["tools"])].append(line)
    return [line for tool_set in rng.sample([*tool_sets.values()], len(tool_sets)) for line in tool_set]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def _write(path: Path, lines: Sequence[str], rng: random.Random) -> None:
    shuffled = [*lines]
    rng.shuffle(shuffled)
    path.write_text("".join(shuffled))


if __name__ == "__main__":
    main(*sys.argv[1:])
