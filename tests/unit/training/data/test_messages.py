"""Tests of conversations of one's own: OpenAI's form, the older one, ShareGPT's, columns, and what a faulty row is told."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.training_data import calls, lines, roles

from autotool_core.errors import AutoToolError
from autotool_training.common import records
from autotool_training.common.records import Record
from autotool_training.data.build import DataSettings, build
from autotool_training.data.catalog import SOURCES, SourceSpec
from autotool_training.data.sources.messages import Location
from autotool_training.data.sources.rows import RowError

FUNCTION = {
    "name": "rain",
    "description": "Rain of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}
TOOL = {"type": "function", "function": FUNCTION}
USER = {"role": "user", "content": "Rain in Ulm and Bonn?"}
SHARED = [
    {"from": "human", "value": "Rain in Ulm?"},
    {"from": "function_call", "value": '<think>Ulm.</think>\n{"name": "rain", "arguments": {"town": "Ulm"}}'},
    {"from": "observation", "value": "2 mm"},
    {"from": "gpt", "value": "2 mm."},
]


NO = {"role": "assistant", "content": "No."}


def call(town: str, name: str = "rain") -> dict[str, Any]:
    return {"id": f"c-{town}", "type": "function", "function": {"name": name, "arguments": json.dumps({"town": town})}}


def answer(*made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(made), **fields}


def result(town: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"c-{town}", "content": text}


def row(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [USER, *messages], "tools": [TOOL], "parallel_tool_calls": True, **fields}


def load(location: object) -> list[Record | RowError]:
    return list(SOURCES["messages"].load_records(str(location), 0))


def load_all(location: object) -> list[Record]:
    loaded = load(location)
    assert [one for one in loaded if isinstance(one, RowError)] == []
    return [one for one in loaded if isinstance(one, Record)]


def test_every_answer_of_openais_form_is_a_record_with_its_history(tmp_path: Path) -> None:
    made = row(
        answer(call("Ulm"), call("Bonn"), reasoning_content="Two towns."),
        result("Bonn", "7 mm"),
        result("Ulm", "2 mm"),
        {"role": "assistant", "content": "<think>Say it.</think>\n\n2 and 7 mm."},
    )
    first, second = load_all(lines(tmp_path / "dialogues.jsonl", made))
    assert (first.id, first.source, first.licence) == ("dialogues/1/0", "dialogues", "unknown")
    assert calls(first) == [("rain", {"town": "Ulm"}), ("rain", {"town": "Bonn"})]
    assert (first.reasoning, roles(first)) == ("Two towns.", "u")
    assert (second.content, second.reasoning, roles(second)) == ("2 and 7 mm.", "Say it.", "uatt")
    # Results are in the order of the calls, whatever theirs was.
    assert [message["content"] for message in second.messages[2:]] == ["2 mm", "7 mm"]


def test_the_older_form_and_stated_names_are_read(tmp_path: Path) -> None:
    older = {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "rain", "arguments": '{"town": "Ulm"}'}},
            {"role": "function", "name": "rain", "content": "2 mm"},
            {"role": "assistant", "content": "2 mm."},
        ],
        "functions": [FUNCTION],
        "license": "MIT",
        "source": "mine",
    }
    first, second = load_all(lines(tmp_path / "d.jsonl", older))
    assert (calls(first), first.source, first.licence) == ([("rain", {"town": "Ulm"})], "mine", "MIT")
    assert (second.content, second.tools) == ("2 mm.", [TOOL])


def test_an_answer_of_weight_0_is_history_alone(tmp_path: Path) -> None:
    made = row(answer(call("Ulm"), weight=0), result("Ulm", "2 mm"), {"role": "assistant", "content": "2 mm.", "weight": 1})
    (record,) = load_all(lines(tmp_path / "d.jsonl", made))
    assert (record.content, roles(record)) == ("2 mm.", "uat")


def test_sharegpt_has_calls_results_reasoning_and_a_system_text(tmp_path: Path) -> None:
    made = {"conversations": SHARED, "system": "Be exact.", "tools": json.dumps([FUNCTION])}
    first, second = load_all(lines(tmp_path / "d.jsonl", made))
    assert (calls(first), first.reasoning, roles(first)) == ([("rain", {"town": "Ulm"})], "Ulm.", "su")
    assert (second.content, roles(second)) == ("2 mm.", "suat")


def test_an_unfit_answer_is_told_and_those_after_it_are_read(tmp_path: Path) -> None:
    made = row(answer(call("Ulm", name="sun")), result("Ulm", "2 mm"), NO)
    fault, record = load(lines(tmp_path / "d.jsonl", made))
    assert isinstance(fault, RowError)
    assert isinstance(record, Record)
    assert (fault.field, record.content, roles(record)) == ("messages[1]", "No.", "uat")


def test_what_comes_before_a_faulty_message_is_kept(tmp_path: Path) -> None:
    record, fault = load(lines(tmp_path / "d.jsonl", row(NO, {"role": "robot", "content": "Hi."})))
    assert isinstance(record, Record)
    assert isinstance(fault, RowError)
    assert (record.content, fault.field) == ("No.", "messages[2].role")


def test_a_greeting_is_history_and_answers_in_a_row_are_one(tmp_path: Path) -> None:
    greeting = {"role": "assistant", "content": "How can I help?"}
    made = {
        "messages": [greeting, USER, {"role": "assistant", "content": "I look it up."}, answer(call("Ulm"))],
        "tools": [TOOL],
    }
    (record,) = load_all(lines(tmp_path / "d.jsonl", made))
    assert (record.content, calls(record), roles(record)) == ("I look it up.", [("rain", {"town": "Ulm"})], "au")


def test_marks_of_an_editor_blank_lines_and_definitions_of_a_schema_are_kept_out_of_the_way(tmp_path: Path) -> None:
    place = {
        "$defs": {"Town": {"type": "string"}},
        "properties": {"town": {"$ref": "#/$defs/Town"}},
        "additionalProperties": True,
    }
    tool = {"name": "rain", "parameters": {"type": "object", **place}}
    file = tmp_path / "d.jsonl"
    more = answer({"id": "c", "function": {"name": "rain", "arguments": '{"town": "Ulm", "days": 2}'}})
    file.write_text(json.dumps(row(more, tools=[tool])) + "\n\n", encoding="utf-8-sig")
    (record,) = load_all(file)
    assert record.tools[0]["function"]["parameters"] == tool["parameters"]


def test_columns_of_a_data_set_on_the_hub_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The hub's rows have all fields of any message, those that one lacks as None.
    empty = dict.fromkeys(("content", "tool_calls", "tool_call_id", "weight", "reasoning_content", "function_call"))
    chat = [{**empty, **message} for message in (USER, answer(call("Ulm")), result("Ulm", "2 mm"))]
    held = [{"chat": chat, "functions_json": json.dumps([FUNCTION])}]
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, config, split: held if name == "me/set" and split == "train" else []
    )
    (record,) = load_all("me/set:chat,functions_json")
    assert (record.id, record.source, calls(record)) == ("set/1/0", "set", [("rain", {"town": "Ulm"})])
    file = lines(tmp_path / "d.jsonl", {"chat": SHARED, "tools": [TOOL]})
    assert [one.id for one in load_all(f"{file}:chat")] == ["d/1/0", "d/1/1"]
    (fault,) = load(f"{file}:chat,functions")
    assert isinstance(fault, RowError)
    assert fault.sentence().endswith("functions: missing; name the column of the tools, or leave its name out")


@pytest.mark.parametrize(
    ("named", "asked", "first"),
    [
        ("", (None, "train"), "set/1/0"),
        (":config=chat-v1.1", ("chat-v1.1", "train"), "set/chat-v1.1/1/0"),
        (":messages,split=test_sft", (None, "test_sft"), "set/test_sft/1/0"),
        (":messages,tools,split=test,config=en", ("en", "test"), "set/en/test/1/0"),
        (":split=train[:1000]", (None, "train[:1000]"), "set/train[:1000]/1/0"),
    ],
)
def test_a_configuration_and_a_split_of_the_hub_are_named(
    monkeypatch: pytest.MonkeyPatch, named: str, asked: tuple[str | None, str], first: str
) -> None:
    def load_dataset(name: str, config: str | None, *, split: str) -> list[Any]:
        assert (name, config, split) == ("me/set", *asked)
        return [row(answer(call("Ulm")))]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (record,) = load_all(f"me/set{named}")
    assert (record.id, record.source) == (first, "set")


@pytest.mark.parametrize("options", ["spilt=test", "split=", "split=a,split=b", "messages,config=a,b=c"])
def test_an_option_of_a_hub_set_that_is_none_is_an_error(options: str) -> None:
    with pytest.raises(AutoToolError, match=r"config=NAME or split=NAME, each once at most"):
        Location.parse(f"me/set:{options}")


@pytest.mark.parametrize(("named", "message"), [("split=test", "a file has no configuration"), ("slip=test", "no such file")])
def test_a_split_of_a_file_is_refused(tmp_path: Path, named: str, message: str) -> None:
    file = lines(tmp_path / "d.jsonl", row(answer(call("Ulm"))))
    with pytest.raises(AutoToolError, match=message):
        load(f"{file}:{named}")


def rain(arguments: str) -> dict[str, Any]:
    return answer({"id": "c", "function": {"name": "rain", "arguments": arguments}})


FAULTS = {
    "messages[1].tool_calls[0].function.arguments: not JSON; write a JSON object as a string": row(rain('{"town"')),
    "messages[1].tool_calls[0].function.arguments: JSON of another kind; write a JSON object as a string": row(rain("7")),
    "messages[1].tool_calls[0].function.name: no name; write the name of the tool that is called": row(
        answer({"function": {"arguments": "{}"}})
    ),
    "messages[1].role: unknown role; use system, user, assistant or tool": row({"role": "robot", "content": "Hi."}),
    "messages[1].weight: neither 0 nor 1; write 0 for an answer that is not to be learnt, or leave it out": row(
        {"role": "assistant", "content": "Hi.", "weight": 0.5}
    ),
    "messages[1].content[0]: part that is no text; leave out images, audio and files": row(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    ),
    "messages[1]: no object; write {": row("Hi."),
    "messages[1]: call of a tool that is not offered; add the tool to the tools, or mend the name": row(
        answer(call("Ulm", name="sun"))
    ),
    "messages[1]: required argument missing; add it to the call": row(rain("{}")),
    "messages[1]: no answer; write content or calls": row({"role": "assistant", "content": ""}),
    "messages[2]: calls without results; write the result of each call before this message": row(answer(call("Ulm")), USER),
    "messages[1]: results that match no calls; write one result for each call": row(result("Ulm", "2 mm"), NO),
    "messages[2]: results that match no calls": row(answer(call("Ulm")), result("Bonn", "7 mm")),
    "messages[1].content: missing; write text": row({"role": "user", "content": None}, NO),
    "messages: no answer to learn; write what the assistant answers": row(),
    "tools[1]: no tool; write {": row(tools=[TOOL, {"type": "function"}]),
    "tools[0]: tool with an unknown type; write its parameters as a JSON schema": row(
        tools=[{"name": "f", "parameters": {"properties": {"x": {"type": "thing"}}}}]
    ),
    "tools: two tools of one name; give each tool a name of its own": row(tools=[TOOL, TOOL]),
    "tools: not JSON; write a list of tools": row(tools="rain"),
    "messages: missing; write a list of messages, or name the column": {"chat": []},
    "the row: no object; write {": ["Hi."],
    "conversations[0].from: unknown role; use human": {"conversations": [{"from": "robot", "value": "Hi."}]},
    "conversations[1].value: not JSON; write the call as JSON": {
        "conversations": [SHARED[0], {"from": "function_call", "value": "rain(Ulm)"}]
    },
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_faulty_row_is_named_with_line_field_and_mend(sentence: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "d.jsonl", row({"role": "assistant", "content": "No."}), FAULTS[sentence])
    faults = [one.sentence() for one in load(file) if isinstance(one, RowError)]
    assert len(faults) == 1
    assert faults[0].startswith(f"{file}, line 2: {sentence}")


def test_a_faulty_row_is_skipped_and_counted_or_ends_the_run(tmp_path: Path) -> None:
    good = row({"role": "assistant", "content": "No."}, licence="MIT")
    file = lines(tmp_path / "d.jsonl", good, row({"role": "robot", "content": "Hi."}))
    spec, said = SourceSpec.parse(f"messages={file}"), list[str]()
    counts = build([spec], tmp_path / "out.jsonl", DataSettings(licences=frozenset({"MIT"})), said.append)
    assert counts.as_dict()["d"] == {"records": 2, "kept": {"text": 1}, "dropped": {"unknown role": 1}, "notes": {}}
    assert len(said) == 1
    assert [record.licence for record in records.read(tmp_path / "out.jsonl", strict=True)] == ["MIT"]
    with pytest.raises(AutoToolError, match=r"line 2: messages\[1\]\.role: unknown role; use system"):
        build([spec], tmp_path / "out.jsonl", DataSettings(strict=True), said.append)


def test_the_maximum_of_a_file_is_that_of_its_name(tmp_path: Path) -> None:
    asked = [row({"role": "user", "content": name}, NO) for name in ("Ulm?", "Bonn?", "Kiel?")]
    file = lines(tmp_path / "d.jsonl", *asked)
    spec = SourceSpec.parse(f"messages={file}")
    counts = build([spec], tmp_path / "out.jsonl", DataSettings(limits={"d": 2}), pytest.fail)
    assert counts.as_dict()["d"]["dropped"] == {"down-sampled": 1}
