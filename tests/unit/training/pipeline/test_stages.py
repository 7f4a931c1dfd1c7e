"""Tests of the real stages of a run: what they leave out and count, what they depend on, and what stops them."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.labelling import record
from support.tiny import CHAT_TEMPLATE, make_tokenizer
from support.training_data import lines

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN
from autotool_server import default_model
from autotool_training import pipeline
from autotool_training.common import records
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.records import Record
from autotool_training.common.resume import compare_runs
from autotool_training.data.counts import Counts
from autotool_training.label.label import UNFINISHED, ModelChoice
from autotool_training.pipeline.measure import Measurement, ModeResult, read_results
from autotool_training.pipeline.stages import Job, stages
from autotool_training.recipe import Recipe

# The package has a function of the same name.
MODULE = importlib.import_module("autotool_training.pipeline.stages")
KNOWN = "qwen2.5-coder-0.5b"
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "assistant", "content": "Hello."}
# As of many families: a system message anywhere but at the beginning is refused.
STRICT = (
    "{%- for message in messages %}{%- if message.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{%- endif %}{%- endfor %}"
)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    rows = [{"messages": [user(f"Greet {name}"), HELLO, user("Again"), HELLO]} for name in ("Ada", "Ben", "Cy", "Di", "Eve")]
    rows.append({"messages": [user("Greet Flo"), SYSTEM, HELLO]})
    trace = {"id": "d/1/0", "content": "Hello.", "calls": []}
    models = [ModelChoice(str(lines(tmp_path / f"{name}.jsonl", trace))) for name in ("short", "long")]
    data = str(lines(tmp_path / "d.jsonl", *rows))
    return Job(recipe(), data, tmp_path / "run", (models[0], models[1]), pytest.fail)


def recipe(**sections: dict[str, Any]) -> Recipe:
    """A recipe whose base need not be fetched, unless it is named."""
    return Recipe.model_validate({**sections, "base": {"source": "scratch", **sections.get("base", {})}})


def with_recipe(job: Job, **sections: dict[str, Any]) -> Job:
    return replace(job, recipe=recipe(**sections))


def make(job: Job, name: str) -> str:
    job.out.mkdir(exist_ok=True)
    return next(stage for stage in stages(job) if stage.name == name).make()


def settings(job: Job, name: str) -> Any:
    return next(stage for stage in stages(job) if stage.name == name).settings()


def test_a_run_until_its_data_shows_what_is_read(job: Job) -> None:
    said: list[str] = []
    assert pipeline.run(replace(job, until="data"), said.append) == []
    (line,) = said
    assert "turns of 5 conversations to train on" in line
    assert "of them with a last request that is one of training too" in line


def test_a_conversation_that_a_template_refuses_is_left_out_by_name(job: Job, tmp_path: Path) -> None:
    make_tokenizer(STRICT + CHAT_TEMPLATE).save_pretrained(tmp_path / "base")
    said: list[str] = []
    refusing = with_recipe(replace(job, skipped=said.append), base={"source": str(tmp_path / "base")})
    assert make(refusing, "data").endswith(", 1 left out")
    assert len(said) == 1
    assert said[0].startswith(f"d/6/0 with {tmp_path / 'base'}: ")
    assert "System message must be at the beginning." in said[0]
    kept = [one.id for name in ("train", "held_out") for one in records.read(job.out / f"{name}.jsonl", strict=True)]
    assert (len(kept), "d/6/0" in kept) == (10, False)
    with pytest.raises(AutoToolError, match=r"d/6/0 with .* must be at the beginning"):
        make(replace(refusing, strict=True), "data")


def test_attempts_that_a_busy_server_left_are_repeated(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter((5, 2, 1, 0))

    def label(*_: object, **__: object) -> Counts:
        counts = Counts("Labels")
        counts.seen["d"] = 1
        counts.kept["d"]["short"] = 1
        counts.notes["d"][f"short {UNFINISHED}"] = next(left)
        return counts

    monkeypatch.setattr(MODULE, "label", label)
    assert make(job, "label") == "1 short of 1 turns, 1 attempts without an answer of a busy or slow server"
    assert make(job, "label") == "1 short of 1 turns"


def test_attempts_of_other_settings_are_made_again_once_they_are_removed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stages
    monkeypatch.setattr(pipeline, "stages", lambda one: [stage for stage in made(one) if stage.name == "label"])
    monkeypatch.setattr(pipeline, "read_results", lambda _: [])
    job.out.mkdir()
    records.write(job.out / "train.jsonl", [record("d/1/0", calls=[], content="Hello.")])

    def run(**rules: Any) -> Sequence[str]:
        said: list[str] = []
        pipeline.run(with_recipe(job, label=rules), said.append)
        return said

    assert "1 short" in run(k=1)[0]
    with pytest.raises(AutoToolError, match="stage label was begun with other settings"):
        run(k=1, temperature=0.5)
    for path in (job.out / "labelled.jsonl", job.out / "labelled.counts.json"):
        path.unlink()
    attempts = job.out / "labelled.attempts.jsonl"
    with pytest.raises(AutoToolError, match=r"attempts\.jsonl holds attempts .*: give another --out, or remove it"):
        run(k=1, temperature=0.5)
    attempts.unlink()
    assert "1 short" in run(k=1, temperature=0.5)[0]


def test_what_a_stage_depends_on(job: Job, tmp_path: Path) -> None:
    def changed(name: str, other: Job) -> bool:
        return settings(job, name) != settings(other, name)

    assert changed("data", replace(job, strict=True))
    assert changed("label", replace(job, models=(replace(job.models[0], name="other"), job.models[1])))
    assert changed("sft", with_recipe(job, base={"scratch": {"layers": 2}}))
    assert changed("refine", with_recipe(job, rl={"max_response_tokens": 9}))
    assert changed("rl", with_recipe(job, rl={"learning_rate": 1e-3}))
    observing: Any = {"keep": 3, "vllm_url": "http://gpu-2:8000", "log_completions": 1, "evaluation": {"records": "held.jsonl"}}
    for name in ("refine", "rl"):
        assert not changed(name, with_recipe(job, rl=observing))
    assert not changed("refine", with_recipe(job, refine={"batch": 3}))
    assert not changed("label", with_recipe(job, label={"batch": 3, "concurrency": 3}))
    columns = replace(job, data=f"{job.data}:messages,tools")
    held = settings(columns, "data"), settings(job, "label")
    for path in (Path(job.data), tmp_path / "long.jsonl"):
        path.write_text(path.read_text() + "\n")
    assert settings(columns, "data") != held[0]
    assert settings(job, "label") != held[1]


@pytest.fixture
def in_cache(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Job]:
    """A job whose base is known by a name, with its checkpoint in a cache folder that is chosen by name."""

    def planted(cache: str) -> Job:
        monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / cache))
        folder = default_model.location(KNOWN)
        make_tokenizer().save_pretrained(folder)
        save_file({"weight": torch.zeros(4)}, folder / "model.safetensors")
        return with_recipe(replace(job, models=(ModelChoice(str(folder)), ModelChoice(KNOWN))), base={"source": KNOWN})

    return planted


def test_a_known_base_is_the_same_in_another_cache(in_cache: Callable[[str], Job]) -> None:
    said: list[str] = []
    for cache in ("old-cache", "new-cache"):
        moved = replace(in_cache(cache), until="data")
        pipeline.run(moved, said.append)
    assert ["done before" in line for line in said] == [False, True]
    assert "old-cache" not in (moved.out / "stages.json").read_text()


@pytest.mark.parametrize("name", ["data", "label", "sft"])
def test_no_stage_depends_on_where_a_known_base_is(in_cache: Callable[[str], Job], name: str) -> None:
    old, new = (settings(in_cache(cache), name) for cache in ("old-cache", "new-cache"))
    assert compare_runs(old, new) == ({}, False)
    assert None not in [value for key, value in old.items() if key.endswith("contents")]


@pytest.mark.parametrize("name", ["data", "label", "sft", "refine", "rl", "measure"])
def test_no_model_is_fetched_to_know_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: Job, name: str) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "empty"))
    next(stage for stage in stages(job) if stage.name == name).assumed()
    assert not (tmp_path / "empty").exists()


def test_another_precision_of_the_same_known_base_is_another_run(in_cache: Callable[[str], Job]) -> None:
    job = in_cache("cache")
    half = replace(job, recipe=recipe(base={"source": KNOWN, "dtype": "bfloat16"}))
    assert compare_runs(settings(job, "sft"), settings(half, "sft")) == ({"base.dtype": "float32"}, False)


@pytest.mark.parametrize(
    ("name", "section", "changed", "kept"),
    [
        ("label", "label", {"k": 2}, "unsolved"),
        ("sft", "sft", {"epochs": 3}, "share"),
        ("sft", "base", {"dtype": "bfloat16"}, "load_in_4bit"),
        ("refine", "refine", {"group": 2}, "urls"),
        ("rl", "rl", {"learning_rate": 0.1}, "decisions"),
        ("measure", "rl", {"max_response_tokens": 9}, "max_prompt_tokens"),
    ],
)
def test_a_setting_that_came_after_a_stage_was_its_default(
    job: Job, name: str, section: str, changed: dict[str, Any], kept: str
) -> None:
    stage = next(stage for stage in stages(with_recipe(job, **{section: changed})) if stage.name == name)

    def differing(missing: str) -> list[str]:
        settings = stage.settings()
        older = {key: value for key, value in settings[section].items() if key != missing}
        return [*compare_runs({**settings, section: older}, settings, assumed=stage.assumed())[0]]

    assert differing(kept) == []
    assert differing(*changed) == [f"{section}.{next(iter(changed))}"]


def test_files_that_no_run_has_made_are_not_written_over(job: Job) -> None:
    job.out.mkdir()
    mine = lines(job.out / "train.jsonl", {"messages": [user("Greet Ada"), HELLO]})
    with pytest.raises(AutoToolError, match=r"holds train\.jsonl, which no run has made: give another --out"):
        pipeline.run(replace(job, data=str(mine), until="data"), pytest.fail)
    assert "Greet Ada" in mine.read_text()


def test_every_stage_loads_as_the_base_is_loaded(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load(source: str, loading: Any) -> Any:
        loaded.append((Path(source).name, loading.dtype, loading.load_in_4bit))
        raise AutoToolError("stopped")

    monkeypatch.setattr("autotool_training.recipe.checkpoint.load_checkpoint", load)
    base = {"source": "base", "dtype": "bfloat16", "load_in_4bit": True}
    half = with_recipe(job, base=base, sft={"lora": {}}, rl={"lora": {}})
    monkeypatch.setattr(MODULE, "refine_records", lambda probing: probing.base())
    job.out.mkdir()
    for name in ("labelled", "refined", "held_out"):
        records.write(job.out / f"{name}.jsonl", [])
    for name in ("sft", "refine", "rl", "measure"):
        with pytest.raises(AutoToolError, match="stopped"):
            make(half, name)
    expected = [("base", True), ("base", False), ("sft", True), ("base", False)]
    assert loaded == [(source, "bfloat16", in_4bit) for source, in_4bit in expected]


def test_the_base_is_measured_beside_the_result(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, str]] = []

    def load(source: str, loading: object) -> Checkpoint:
        return Checkpoint(Path(source).name, make_tokenizer(), BUILTIN["smollm2-autotool"])

    class Recorded(Measurement):
        def __init__(self, checkpoint: Checkpoint, records: Sequence[Record], **_: int) -> None:
            self.name, self.turns = checkpoint.model, len(records)

        def _results(self, modes: Mapping[str, Mode]) -> list[ModeResult]:
            measured.extend((self.name, mode) for mode in modes.values())
            return [ModeResult(name, self.turns, 1, 1, 1, 1, 0) for name in modes]

    monkeypatch.setattr("autotool_training.recipe.checkpoint.load_checkpoint", load)
    monkeypatch.setattr(MODULE, "Measurement", Recorded)
    job.out.mkdir()
    records.write(job.out / "held_out.jsonl", [record("d/1/0", calls=[], content="Hello.")])
    assert make(with_recipe(job, base={"source": "start"}), "measure") == "1 held-out turns in 3 modes, and by the base"
    assert measured == [("start", "short"), ("rl", "auto"), ("rl", "long"), ("rl", "short")]
    assert [(result.mode, result.turns) for result in read_results(job.results)] == [
        ("auto", 1),
        ("long", 1),
        ("short", 1),
        ("base", 1),
    ]


def test_rl_does_not_begin_without_the_server_of_its_rollouts(job: Job) -> None:
    serving = with_recipe(job, rl={"rollouts": "vllm-server", "vllm_url": "http://127.0.0.1:9"})
    with pytest.raises(AutoToolError, match=r"No server answers at http://127\.0\.0\.1:9 .* give the command again"):
        make(serving, "rl")
    assert not (job.out / "rl").exists()
