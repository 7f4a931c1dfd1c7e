"""Tests of building a file of records: types, faults, duplicates, evaluation texts, samples, distractor tools, counts."""

import json
import os
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from autotool_core.errors import AutoToolError
from autotool_training.common import records
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.build import DataSettings, build, record_kind
from autotool_training.data.catalog import SourceSpec
from autotool_training.data.counts import Counts
from autotool_training.data.distractors import REFUSALS, Distractors
from autotool_training.data.overlap import EvaluationTexts, deduplication_key, read_texts
from autotool_training.data.quality import COERCED, MISTYPED, REASONING_REMOVED, check
from autotool_training.data.sources.arguments import coerced, fits
from autotool_training.data.sources.tools import parameters, tools

REAL = os.environ.get("AUTOTOOL_TRAIN_DATA")


def tool(name: str, required: tuple[str, ...] = (), **kinds: Any) -> dict[str, Any]:
    properties = {key: value if isinstance(value, dict) else {"type": value} for key, value in kinds.items()}
    return tools([{"name": name, "parameters": {"properties": properties, "required": list(required)}}])[0]


RAIN = tool("getRain", ("town",), town="string", days="integer", mm="number", live="boolean", on="array", where="object")


def record(request: str = "Rain in Ulm?", **fields: Any) -> Record:
    made: dict[str, Any] = {
        "id": "r",
        "tools": [RAIN],
        "messages": [{"role": "user", "content": request}],
        "calls": [GoldCall(name="getRain", arguments={"town": "Ulm"})],
        "source": "glaive",
        "licence": "Apache-2.0",
    }
    return Record(**{**made, **fields})


def call(**arguments: Any) -> list[GoldCall]:
    return [GoldCall(name="getRain", arguments={"town": "Ulm", **arguments})]


@pytest.mark.parametrize(
    ("value", "schema", "wanted"),
    [
        ("5", "integer", 5),
        (" -12 ", "integer", -12),
        ("3.5", "number", 3.5),
        ("5", "number", 5),
        ("1e-3", "number", 0.001),
        ("True", "boolean", True),
        ("false", "boolean", False),
        (5.0, "integer", 5),
        ('["1", 2]', {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ("['a']", "array", ["a"]),
        ('{"n": "1"}', {"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": 1}),
        ({"n": ["1"]}, {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "number"}}}}, {"n": [1]}),
        ("7", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 7),
    ],
)
def test_a_clear_case_gets_the_schemas_type(value: Any, schema: Any, wanted: Any) -> None:
    schema = {"type": schema} if isinstance(schema, str) else schema
    made = coerced(value, schema)
    assert (made, type(made)) == (wanted, type(wanted))
    jsonschema.validate(made, schema)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("5", {"type": "string"}),
        ("5", {"type": ["string", "integer"]}),
        ("5", {}),
        ("5 days", {"type": "integer"}),
        ("1,000", {"type": "integer"}),
        ("5.5", {"type": "integer"}),
        ("yes", {"type": "boolean"}),
        ("[1", {"type": "array"}),
        ('{"a": 1}', {"type": "array"}),
        (5, {"type": "string"}),
        (5.5, {"type": "integer"}),
        ("inf", {"type": "number"}),
    ],
)
def test_an_unclear_value_is_unchanged(value: Any, schema: Any) -> None:
    assert coerced(value, schema) is value
    assert fits(value, schema) == (schema == {} or (isinstance(value, str) and "string" in schema["type"]))


def test_arguments_are_typed_in_the_answer_and_in_the_history() -> None:
    before = {"id": "c", "type": "function", "function": {"name": "getRain", "arguments": '{"town": "Bonn", "days": "2"}'}}
    messages = [
        {"role": "user", "content": "Bonn?"},
        {"role": "assistant", "content": "", "tool_calls": [before]},
        {"role": "tool", "tool_call_id": "c", "content": "0"},
    ]
    checked = check(record(messages=messages, calls=call(days="3", live="true", mm="much")))
    assert checked.fault is None
    assert checked.record.calls == call(days=3, live=True, mm="much")
    assert checked.notes == {COERCED: 2, MISTYPED: 1}
    assert checked.record.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"town": "Bonn", "days": 2}'
    assert before["function"]["arguments"] == '{"town": "Bonn", "days": "2"}'


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, None),
        ({"calls": [], "content": "No."}, None),
        ({"calls": [GoldCall(name="getSun", arguments={})]}, "call of a tool that is not offered"),
        ({"calls": [GoldCall(name="getRain", arguments={"days": 1})]}, "required argument missing"),
        ({"calls": call(colour="red")}, "argument that the tool does not have"),
        ({"calls": call(town="API_call_0")}, "placeholder argument"),
        ({"calls": call(on=["a", {"b": "<date>"}])}, "placeholder argument"),
        ({"calls": call(town="YOUR_API_KEY")}, "placeholder argument"),
        ({"calls": call(town="[Your Name]")}, "placeholder argument"),
        ({"calls": call(town="a < b > c")}, None),
        ({"calls": call(on='[{"a": 1}, {"b"')}, "argument that is broken JSON"),
        ({"calls": call(town='[{"a": 1}, {"b"')}, None),
        ({"calls": [], "content": " "}, "no answer"),
        ({"calls": [], "content": "Try <tool_call>."}, "marker in the answer"),
        ({"messages": [{"role": "system", "content": "s"}]}, "no request"),
    ],
)
def test_faults(fields: dict[str, Any], fault: str | None) -> None:
    assert check(record(**fields)).fault == fault


def test_reasoning_that_would_close_its_block_is_removed() -> None:
    checked = check(record(reasoning="Write </think> here."))
    assert (checked.record.reasoning, checked.fault, checked.notes) == (None, None, {REASONING_REMOVED: 1})
    assert check(record(reasoning="Fine.")).record.reasoning == "Fine."


def test_duplicates_differ_in_punctuation_and_order_of_calls() -> None:
    two = [*call(), *call(days=2)]
    one = deduplication_key(record("Rain, in Ulm?", calls=two))
    assert deduplication_key(record("rain in ulm", calls=two[::-1], id="other", tools=[], licence="MIT")) == one
    assert deduplication_key(record("Rain in Ulm", calls=call())) != one
    assert deduplication_key(record("Rain in Bonn", calls=two)) != one


EVALUATED = "Please tell me how much rain will fall in the city of Ulm on Monday."


@pytest.mark.parametrize(
    ("request_", "overlaps"),
    [
        ("Hello! Please tell me: how much rain will fall tomorrow?", True),  # eight words in a row
        ("Please tell me how much rain will come.", False),  # seven
        ("How much rain will fall?", True),  # whole in an evaluation text
        ("Much rain?", False),  # too short to be recognized
        ("How much will fall?", False),
        ("Say, what is the time now, please?", True),  # a short evaluation text, whole
        ("What is the hour?", False),
    ],
)
def test_requests_of_evaluation_sets_are_recognized(request_: str, *, overlaps: bool) -> None:
    evaluation = EvaluationTexts([EVALUATED, "What is the time?", "Yes, do that."], 8)
    assert evaluation.overlaps(record(request_)) == overlaps


def test_long_replies_overlap_and_short_ones_do_not() -> None:
    evaluation = EvaluationTexts([EVALUATED, "Yes, do that."], 8)
    messages = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": EVALUATED}]
    assert not evaluation.overlaps(record(messages=[*messages, {"role": "user", "content": "Yes, do that."}]))
    assert evaluation.overlaps(record(messages=[*messages, {"role": "user", "content": EVALUATED}]))


def test_evaluation_texts_are_read_from_text_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('"Three\\nlines."\n{"text": "Four."}\n')
    assert [text.strip() for text in read_texts([tmp_path / "a.txt", tmp_path / "b.jsonl"])] == [
        "One.",
        "Two.",
        "Three\nlines.",
        "Four.",
    ]
    (tmp_path / "b.jsonl").write_text('"Three."\n{"txt": "Four."}\n')
    with pytest.raises(AutoToolError, match=r"b\.jsonl, line 2: write a JSON string"):
        list(read_texts([tmp_path / "b.jsonl"]))
    with pytest.raises(AutoToolError, match=r"--against .*absent"):
        list(read_texts([tmp_path / "absent"]))


POOL = [tool(name) for name in ("getRainMap", "findUlmTown", "getSnow", "bookTable", "sendMail", "mixPaint")]


def names(one: Record) -> set[str]:
    return {tool_["function"]["name"] for tool_ in one.tools}


def test_distractors_are_drawn_by_seed_and_could_not_serve_the_request() -> None:
    asked = record("Rain in the town of Ulm?")
    made = [Distractors([RAIN, *POOL], seed).add(asked, 3) for seed in range(20)]
    assert all(len(one.tools) == 4 and "getRain" in names(one) for one in made)
    assert len({frozenset(names(one)) for one in made}) > 3
    assert len({one.tools.index(RAIN) for one in made}) > 1
    assert made[0] == Distractors([RAIN, *POOL], 0).add(asked, 3)
    # The request contains both words of findUlmTown, but only one of getRainMap.
    assert set.union(*map(names, made)) == {"getRain", "getRainMap", "getSnow", "bookTable", "sendMail", "mixPaint"}


def test_a_record_without_calls_gets_no_tool_that_shares_a_word() -> None:
    asked = record("Rain in the town of Ulm?", calls=[], content="I cannot.", tools=[])
    made = Distractors([RAIN, *POOL], 0).add(asked, 9)
    assert names(made) == {"getSnow", "bookTable", "sendMail", "mixPaint"}


def test_an_irrelevant_record_has_other_tools_and_refuses() -> None:
    made = Distractors([RAIN, *POOL], 0).make_irrelevant(record(reasoning="r", level=3), 2)
    assert (made.calls, made.reasoning, made.level, len(made.tools)) == ([], None, None, 2)
    assert made.content in REFUSALS
    assert not names(made) & {"getRain", "getRainMap", "findUlmTown"}
    assert Distractors([RAIN], 0).make_irrelevant(record(), 2) == record()


def glaive(path: Path, *requests: str, bad: bool = False) -> SourceSpec:
    """Write a file of dialogues with two answers each, a call and a reply, over a few tools."""
    rows = []
    for index, request in enumerate(requests):
        name = f"tool{'abcdef'[index % 6]}"
        turns = [
            ("human", request),
            ("function_call", json.dumps({"name": name, "arguments": {"n": str(index)}})),
            ("observation", "ok"),
            ("gpt", f"Done {index}."),
        ]
        described = [{"name": name, "parameters": {"properties": {"n": {"type": "integer"}}}}]
        conversation = [{"from": who, "value": text} for who, text in turns]
        rows.append({"conversations": conversation, "tools": json.dumps(described)})
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *([{"tools": "["}] if bad else [])]))
    return SourceSpec("glaive", str(path))


def run(tmp_path: Path, *specs: SourceSpec, **settings: Any) -> tuple[list[Record], dict[str, Any], list[str]]:
    skipped: list[str] = []
    counts = build(specs, tmp_path / "out.jsonl", DataSettings(**settings), skipped.append)
    assert json.loads((tmp_path / "out.counts.json").read_text()) == counts.as_dict()
    return list(records.read(tmp_path / "out.jsonl", strict=True)), counts.as_dict(), skipped


def test_every_record_is_kept_or_dropped_for_a_reason(tmp_path: Path) -> None:
    (tmp_path / "eval.txt").write_text("Sort the old letters\n")
    spec = glaive(
        tmp_path / "rows.jsonl", *(f"Do thing {index}" for index in range(10)), "do thing 3!", "sort the old letters", bad=True
    )
    settings = {"limits": {"glaive/call": 4}, "against": (tmp_path / "eval.txt",), "distractors": 2}
    kept, counts, skipped = run(tmp_path, spec, **settings)
    glaive_counts = counts["glaive"]
    assert glaive_counts["kept"] == {"call": 4, "reply": 11}
    # The repeated request is no duplicate, because another call answers it. The reply's history differs, too.
    assert glaive_counts["dropped"] == {"down-sampled": 7, "in an evaluation set": 2, "not JSON": 1}
    assert glaive_counts["records"] == 25 == len(kept) + sum(glaive_counts["dropped"].values())
    assert counts["total"] == glaive_counts
    assert [sentence.partition(": ")[0] for sentence in skipped] == [f"{tmp_path / 'rows.jsonl'}, line 13"]
    assert all(len(one.tools) == 3 for one in kept)
    assert all(isinstance(one.arguments["n"], int) for other in kept for one in other.calls)
    assert run(tmp_path, spec, **settings)[0] == kept
    assert [one.id for one in run(tmp_path, spec, seed=1, **settings)[0]] != [one.id for one in kept]


def test_duplicates_are_dropped_across_files(tmp_path: Path) -> None:
    specs = [glaive(tmp_path / f"{name}.jsonl", "Do a thing", "Do another") for name in "ab"]
    kept, counts, _ = run(tmp_path, *specs)
    assert (len(kept), counts["glaive"]["dropped"]) == (4, {"doubled": 4})


def test_records_of_files_with_the_same_row_numbers_have_unique_ids(tmp_path: Path) -> None:
    specs = [glaive(tmp_path / f"part.{index}.jsonl", f"Do thing {index}") for index in range(3)]
    ids = [one.id for one in run(tmp_path, *specs)[0]]
    assert ids == [f"glaive/part/1/{answer}{more}" for more in ("", "#2", "#3") for answer in (0, 1)]


def test_a_sample_is_even_and_in_order(tmp_path: Path) -> None:
    spec = glaive(tmp_path / "rows.jsonl", *(f"Do thing {index}" for index in range(30)))
    drawn = Counter[str]()
    for seed in range(60):
        ids = [one.id for one in run(tmp_path, spec, seed=seed, limits={"glaive": 6})[0]]
        assert len(ids) == 6
        assert ids == sorted(ids, key=lambda text: tuple(map(int, text.split("/")[-2:])))
        drawn.update(ids)
    assert len(drawn) == 60  # of 60 records, each expected 6 times
    assert max(drawn.values()) < 18


def test_licences_length_and_irrelevance(tmp_path: Path) -> None:
    spec = glaive(tmp_path / "rows.jsonl", "Do a thing " * 50, *(f"Do thing {index}" for index in range(9)))
    _, counts, _ = run(tmp_path, spec, licences=frozenset({"Apache-2.0"}), max_chars=500, irrelevant=1.0)
    assert counts["glaive"]["dropped"] == {"too long": 2}
    assert counts["glaive"]["kept"] == {"text": 9, "reply": 9}
    assert counts["glaive"]["notes"]["made irrelevant"] == 9
    kept, counts, _ = run(tmp_path, spec, licences=frozenset({"CC-BY-4.0"}))
    assert (kept, counts["glaive"]["dropped"]) == ([], {"licence Apache-2.0": 20})


def test_strict_ends_at_the_first_bad_row_and_writes_nothing(tmp_path: Path) -> None:
    spec = glaive(tmp_path / "rows.jsonl", "Do a thing", bad=True)
    with pytest.raises(AutoToolError, match=r"rows\.jsonl, line 2: tools: not JSON; write a list of tools"):
        run(tmp_path, spec, strict=True)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"limits": {"sgdd": 1}}, "--max sgdd: name a source"),
        ({"limits": {"sgd/calls": 1}}, "--max sgd/calls"),
        ({"licences": frozenset({"GPL"})}, "--licence GPL: use Apache-2.0, CC-BY-4.0, CC-BY-SA-4.0"),
    ],
)
def test_settings_with_unknown_names_are_rejected(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=sentence):
        build([], tmp_path / "out.jsonl", DataSettings(**settings), pytest.fail)


def test_the_table_has_a_column_per_source_and_a_row_per_reason() -> None:
    counts = Counts("Counted")
    counts.seen.update(a=3, b=2)
    counts.kept["a"]["call"] = 2
    counts.dropped["a"]["doubled"] += 1
    counts.dropped["b"]["doubled"] += 2
    Console(file=(out := StringIO()), width=100).print(counts.table())
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    assert cells == [["records", "3", "2", "5"], ["kept: call", "2", "", "2"], ["dropped: doubled", "1", "2", "3"]]


@pytest.mark.skipif(
    REAL is None, reason="AUTOTOOL_TRAIN_DATA is not set to a directory with the data sets of docs/guides/train.md"
)
def test_the_real_files_are_read_completely(tmp_path: Path) -> None:
    folder = Path(REAL or "")
    files = {
        "toolrl": "toolrl_sft.json",
        "reason_tool_use": "reason_tool_use_50.jsonl",
        "glaive": "glaive_toolcall_300.json",
        "seal_tools": "seal_tools_dev.jsonl",
        "sgd": "sgd",
    }
    specs = [SourceSpec(name, str(folder / file)) for name, file in files.items()]
    limits = {"sgd/call": 300, "sgd/text": 100, "sgd/reply": 100}
    kept, counts, skipped = run(tmp_path, *specs, limits=limits, distractors=2)
    assert len(skipped) < 25
    for name in files:
        one = counts[name]
        assert one["records"] == sum(one["kept"].values()) + sum(one["dropped"].values())
        assert sum(one["kept"].values()) > 80
    assert {record_kind(one) for one in kept} == {"call", "text", "reply"}
    for one in kept:
        by_name = {tool_["function"]["name"]: parameters(tool_) for tool_ in one.tools}
        assert all(set(by_name[gold.name]["required"]) <= set(gold.arguments) for gold in one.calls)
