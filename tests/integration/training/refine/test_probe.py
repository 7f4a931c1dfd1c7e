"""Refinement of records by the checkpoints that SFT keeps."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from support.token_server import serving
from support.training import SIZES, records

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.lora import LoraSettings
from autotool_training.common.records import Record
from autotool_training.common.records import read as read_records
from autotool_training.common.sampling import sample
from autotool_training.refine import probe
from autotool_training.refine.probe import ProbeJob, RefineSettings, refine_records
from autotool_training.rl.run import RlSettings
from autotool_training.rl.settings import ObjectiveSettings, RewardTable
from autotool_training.sft import train as sft

SETTINGS = RefineSettings(rounds=0, group=2, batch=4, min_alignment=-1e9)
RL = RlSettings(objective=ObjectiveSettings(variant="autotool"), max_response_tokens=8)
WARM_UP = sft.SftSettings(modes="both", warmup_steps=1, batch_size=4, save_steps=1, keep=2)


def base() -> checkpoint.Checkpoint:
    return scratch.make(SIZES, seed=0)


def job(out: Path, folders: Sequence[Path], some: Sequence[Record], **changes: object) -> ProbeJob:
    settings = SETTINGS.model_copy(update=changes)
    return ProbeJob(records=some, rounds=folders, base=base, settings=settings, rl=RL, seed=0, out=out)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SFT run with LoRA of three steps that has kept the last two."""
    folder = tmp_path_factory.mktemp("sft")
    start = base()
    writer = ExampleWriter(start.tokenizer, start.profile, start.tokenizer.eos_token_id)
    settings = WARM_UP.model_copy(update={"lora": LoraSettings(rank=2, alpha=4)})
    sft.train(start, sft.make_examples(records(6), writer, settings)[0], settings, folder, seed=0)
    return folder


def lines(job: ProbeJob) -> list[dict[str, object]]:
    return [json.loads(line) for line in job.probes.read_text().splitlines()]


def test_the_checkpoints_of_sft_are_the_rounds_of_its_folder(run: Path) -> None:
    assert [path.name for path in checkpoint.list_checkpoints(run / "steps")] == ["checkpoint-2", "checkpoint-3"]
    assert checkpoint.list_checkpoints(run) == [run]
    loaded = checkpoint.load_step(run / "steps/checkpoint-3", base)
    ended = checkpoint.load_checkpoint(str(run)).model.state_dict()
    assert loaded.profile.name == "smollm2-autotool"
    assert all(value.allclose(ended[name], atol=1e-5) for name, value in loaded.model.state_dict().items())


def test_records_are_probed_and_chosen(run: Path, tmp_path: Path) -> None:
    some = records(5)
    probing = job(tmp_path / "refined.jsonl", checkpoint.list_checkpoints(run / "steps"), some)
    counts = refine_records(probing)
    _, *groups = lines(probing)
    assert [(line["round"], line["id"]) for line in groups] == [(at, one.id) for at in (0, 1) for one in some]
    assert all(len(line["rewards"]) == SETTINGS.group for line in groups)  # pyright: ignore[reportArgumentType]
    kept = list(read_records(probing.out))
    assert [one.id for one in kept] == [one.id for one in some if one in kept]
    assert sum(counts.kept["graded"].values()) == len(kept)
    assert json.loads((tmp_path / "refined.counts.json").read_text())["total"]["records"] == 5


def test_the_rounds_are_those_of_a_short_run_of_grpo(run: Path, tmp_path: Path) -> None:
    some = records(3)
    short = RL.model_copy(update={"prompts": 2, "group": 2, "lora": LoraSettings(rank=2, alpha=4), "warmup_steps": 0})
    probing = replace(job(tmp_path / "refined.jsonl", [run], some, rounds=2, round_steps=1), rl=short)
    refine_records(probing)
    steps = probing.grpo / "steps"
    rounds = [(str(run), 0), (str(steps / "checkpoint-1"), 1), (str(steps / "checkpoint-2"), 2)]
    assert [(line["checkpoint"], line["round"]) for line in lines(probing)[1:]] == [one for one in rounds for _ in some]
    # The rounds are of plain GRPO, which needs no targets, whatever the variant of RL is.
    assert json.loads((probing.grpo / "run.json").read_text())["settings"]["objective"]["variant"] == "grpo"
    assert not (probing.grpo / "targets.json").exists()
    # The adapter of a step is one of the checkpoint that GRPO started from.
    last = checkpoint.load_step(steps / "checkpoint-2", lambda: checkpoint.load_checkpoint(str(run))).model.state_dict()
    ended = checkpoint.load_checkpoint(str(probing.grpo)).model.state_dict()
    assert all(value.allclose(ended[name], atol=1e-5) for name, value in last.items())
    before = lines(probing)
    refine_records(probing)
    assert lines(probing) == before
    # Settings of RL that plain GRPO and the probes do not use change nothing, and a round can be added.
    other = {"objective": ObjectiveSettings(variant="no-adaptive", long_beta=0.001), "percentile": 50.0, "keep": 9}
    served = {"rollouts": "vllm-server", "vllm_url": "http://localhost:9"}
    more = probing.settings.model_copy(update={"rounds": 3, "min_alignment": 0.1})
    refine_records(replace(probing, settings=more, rl=short.model_copy(update={**other, **served})))
    assert lines(probing)[: len(before)] == before
    assert [line["round"] for line in lines(probing)[len(before) :]] == [3] * len(some)


def test_a_run_of_grpo_that_began_from_another_adapter_is_not_used(run: Path, tmp_path: Path) -> None:
    some, start, short = records(3), tmp_path / "checkpoint-3", RL.model_copy(update={"prompts": 2, "group": 2})
    shutil.copytree(run / "steps/checkpoint-3", start)
    probing = replace(job(tmp_path / "refined.jsonl", [start], some, rounds=1, round_steps=1), rl=short)
    refine_records(probing)
    shutil.copy(run / "steps/checkpoint-2/adapter_model.safetensors", start)
    with pytest.raises(AutoToolError, match=r"refined\.grpo holds a run with other settings \(base_contents\)"):
        refine_records(probing)


def test_an_interrupted_run_resumes_and_has_the_same_result(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some, rounds = records(6), [run, run]
    straight, cut = (job(tmp_path / name / "refined.jsonl", rounds, some) for name in ("straight", "cut"))
    refine_records(straight)
    groups, calls = probe._RolloutSampler.groups, []

    def once(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return groups(*arguments)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(probe._RolloutSampler, "groups", once)
        with pytest.raises(KeyboardInterrupt):
            refine_records(cut)
    assert len(lines(cut)) == 1 + 2
    refine_records(cut)
    assert lines(cut) == lines(straight)
    # The same checkpoint in another round is another draw.
    first, second = ([line["rewards"] for line in lines(straight)[1:] if line["round"] == at] for at in (0, 1))
    assert first != second


def test_another_threshold_needs_no_new_rollouts_and_another_group_another_file(run: Path, tmp_path: Path) -> None:
    some, out = records(4), tmp_path / "refined.jsonl"
    refine_records(job(out, [run], some))
    before = lines(job(out, [run], some))
    refine_records(job(out, [run], some, min_alignment=1.0, rate="accuracy"))
    assert lines(job(out, [run], some)) == before
    with pytest.raises(AutoToolError, match=r"other settings \(group\)"):
        refine_records(job(out, [run], some, group=3))


def test_a_record_with_a_long_prompt_is_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    one, other = records(2)
    long = other.model_copy(update={"messages": [{"role": "user", "content": "What? " * 500}]})
    limited = RL.model_copy(update={"max_prompt_tokens": 400})
    probing = replace(job(tmp_path / "refined.jsonl", [run], [one, long]), rl=limited)
    for _ in range(2):  # again without new rollouts
        counts = refine_records(probing)
        assert counts.dropped["graded"]["prompt of more than 400 tokens"] == 1
        assert [(line["id"], len(line["rewards"])) for line in lines(probing)[1:]] == [(long.id, 0), (one.id, 2)]  # pyright: ignore[reportArgumentType]


def test_a_checkpoint_that_was_made_again_in_its_folder_is_probed_again(run: Path, tmp_path: Path) -> None:
    some, folder = records(2), tmp_path / "sft"
    shutil.copytree(run, folder)
    probing = job(tmp_path / "refined.jsonl", [folder], some)
    refine_records(probing)
    before = lines(probing)
    scratch.make(SIZES, seed=1).save(folder)
    for _ in range(2):  # once, and not again
        refine_records(probing)
        after = lines(probing)
        assert after[: len(before)] == before
        assert [line["id"] for line in after[len(before) :]] == [one.id for one in some]
    # Lines of older code have no fingerprint, and stay.
    old = [{name: value for name, value in line.items() if name != "contents"} for line in before]
    probing.probes.write_text("".join(json.dumps(line) + "\n" for line in old))
    refine_records(probing)
    assert lines(probing) == old


def test_rates_are_by_reward_or_by_accuracy() -> None:
    by_reward = probe._reward_rate(job(Path("a"), [], records(1)))
    assert by_reward({"rewards": [1.0, -0.5, 0.5, -1.0], "right": 2}) == 0.5
    assert by_reward({"rewards": [0.5, 0.5], "right": 2}) == 0.75
    assert probe._accuracy({"rewards": [0.5, 0.5], "right": 2}) == 1.0


@pytest.mark.parametrize("best", [0.9, 0.8])
@pytest.mark.parametrize("group", [3, 5, 6, 8, 16])
def test_the_best_reward_in_every_rollout_is_a_rate_of_one(best: float, group: int) -> None:
    rewards = RewardTable(right_short=best)
    rl = RL.model_copy(update={"objective": ObjectiveSettings(variant="autotool", rewards=rewards)})
    rate = probe._reward_rate(replace(job(Path("a"), [], records(1)), rl=rl))
    assert (rate({"rewards": [best] * group}), rate({"rewards": [-1.0] * group})) == (1.0, 0.0)


def test_what_cannot_be_probed_is_reported(run: Path, tmp_path: Path) -> None:
    one = records(1)
    with pytest.raises(AutoToolError, match="needs records and at least one checkpoint"):
        refine_records(job(tmp_path / "a.jsonl", [run], []))
    with pytest.raises(AutoToolError, match="same id"):
        refine_records(job(tmp_path / "a.jsonl", [run], one * 2))
    with pytest.raises(AutoToolError, match="No model can be loaded"):
        refine_records(job(tmp_path / "a.jsonl", [tmp_path / "none"], one))


def test_rewards_of_ones_own_are_scaled_by_those_that_there_were(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe_rewards.py").write_text(
        "def last(records, answers):\n    return [float(record.id[-1]) for record in records]\n"
        "def same(records, answers):\n    return [0.0 for _ in records]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    some = [record.model_copy(update={"id": f"r{at}"}) for at, record in enumerate(records(3), 4)]
    own = RL.model_copy(update={"reward": ["probe_rewards:last"]})
    probing = replace(job(tmp_path / "own.jsonl", [run], some), rl=own)
    refine_records(probing)
    assert [line["rewards"] for line in lines(probing)[1:]] == [[4.0, 4.0], [5.0, 5.0], [6.0, 6.0]]
    with pytest.raises(AutoToolError, match="other settings"):
        refine_records(replace(probing, rl=RL))
    same = replace(probing, out=tmp_path / "same.jsonl", rl=RL.model_copy(update={"reward": "probe_rewards:same"}))
    with pytest.raises(AutoToolError, match="same reward"):
        refine_records(same)


def test_servers_decode_for_the_checkpoints_that_they_serve(run: Path, tmp_path: Path) -> None:
    loaded, lock = checkpoint.load_checkpoint(str(run)), Lock()
    eos = loaded.tokenizer.eos_token_id

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if allowed := body.get("allowed_token_ids"):
            return {"token_ids": [allowed[body["seed"] % 2]]}
        with lock:
            return {"token_ids": sample(loaded.model, [body["prompt"]], body["max_tokens"], [eos], seed=body["seed"])[0]}

    some = records(3)
    with serving(answer) as url:
        probing = job(tmp_path / "refined.jsonl", [run], some, urls=[url])
        refine_records(probing)
        with pytest.raises(AutoToolError, match=r"names 1 servers for 2 checkpoints"):
            refine_records(replace(probing, rounds=[run, run]))
    rewards = [reward for line in lines(probing)[1:] for reward in line["rewards"]]  # pyright: ignore[reportGeneralTypeIssues]
    # Each record is answered long and short, and a random model is wrong.
    assert set(rewards) <= {-0.5, -1.0, 0.5, 1.0}
    assert len(rewards) == len(some) * SETTINGS.group
    with pytest.raises(ValueError, match="urls needs rounds=0"):
        RefineSettings(urls=[url])
