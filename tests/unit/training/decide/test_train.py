"""Decision heads of a tiny random model: what is written, and what is refused."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from support.labelling import record
from support.tiny import make_llama, make_tokenizer
from typer.testing import CliRunner

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN, DecisionHead, load_profile
from autotool_core.prompt import PromptRenderer
from autotool_training.cli import app
from autotool_training.common import records
from autotool_training.common.checkpoint import load_checkpoint
from autotool_training.common.records import Record
from autotool_training.decide import reading
from autotool_training.decide.train import Result, train

Trained = Callable[..., Result]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The folder of a random Llama that can do every mode, whose profile has a head already."""
    folder = tmp_path / "tiny"
    make_llama(make_tokenizer()).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    old = DecisionHead(tokens=(1, 2), weights=(1.0, -1.0), intercept=3.0)
    profile = BUILTIN["smollm2-autotool"].model_copy(update={"decision_head": old, "decision_bias": 2.0})
    (folder / "mode_profile.json").write_text(profile.model_dump_json())
    return folder


def labelled(number: int = 40) -> list[Record]:
    """Long requests are marked, so that the last hidden state tells them from short ones."""
    return [
        record(
            f"{'a' * (at % 7)}{'Z' * 9 if at % 2 else 'b' * 9}", label="long" if at % 2 else "short", reasoning="So."
        ).model_copy(update={"id": str(at)})
        for at in range(number)
    ]


def trained(tiny: Path, given: list[Record], **options: int) -> Result:
    return train(str(tiny), given, tiny.parent / "decide.json", console=Console(file=StringIO()), **options)


def test_the_profile_has_a_head_that_reads_the_labels(tiny: Path) -> None:
    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    result = trained(tiny, labelled(), read=40)
    assert (result.records, result.long, result.left_out, result.tokens) == (40, 20, 0, 40)
    assert result.trained.auc > 0.95
    profile = load_profile(tiny.parent / "decide.json")
    assert profile.without_decision() == BUILTIN["smollm2-autotool"]
    assert profile.decision_bias == 0.0
    assert json.loads((tiny.parent / "decide.metrics.json").read_text())["trained"]["auc"] == result.trained.auc
    assert {path.name: path.read_bytes() for path in tiny.iterdir()} == before
    renderer = PromptRenderer(make_tokenizer(), profile)
    tokens = renderer.decision_tokens
    assert tokens is not None
    model = load_checkpoint(str(tiny)).model.eval()
    right = 0
    for one in labelled():
        prompt = renderer.render(one.messages, one.tools, Mode.AUTO)
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
        log_odds = tokens.readout.log_odds(logprobs[list(tokens.candidates)].tolist())
        right += (log_odds > 0) == (one.label == "long")
    assert right >= 38


def test_tokens_are_chosen_by_the_first_records(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = reading.DecidingCheckpoint(str(tiny))
    prompts = [checkpoint.prompt(one) for one in labelled(10)]
    whole = checkpoint.read(prompts, 30)
    monkeypatch.setattr(reading, "CHOOSING", 4)
    parts = checkpoint.read(prompts, 30)
    assert parts.tokens == checkpoint.read(prompts[:4], 30).tokens
    assert whole.logprobs.shape == parts.logprobs.shape == (10, 32)
    assert 0 not in whole.tokens
    assert len({*whole.tokens}) == 32
    column = {token: at for at, token in enumerate(parts.tokens)}
    same = [token for token in whole.tokens if token in column]
    assert same[:2] == list(whole.tokens[:2])
    expected = whole.logprobs[:, [whole.tokens.index(token) for token in same]]
    assert torch.equal(parts.logprobs[:, [column[token] for token in same]], expected)


def test_long_prompts_are_left_out(tiny: Path) -> None:
    long = record("x" * 400, label="short", id="long")
    assert trained(tiny, [*labelled(), long], read=4, max_tokens=300).left_out == 1


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([record("a")], "Record a has no label"),
        (labelled(12), "6 records with prompts of at most 2048 tokens are labelled long, and 10 are needed"),
        ([one for one in labelled() if one.label == "long"], "0 records .* are labelled short"),
    ],
)
def test_too_little_to_learn_from_is_refused(tiny: Path, given: list[Record], fault: str) -> None:
    with pytest.raises(AutoToolError, match=fault):
        trained(tiny, given)


def test_a_checkpoint_that_cannot_decide_is_refused(tiny: Path) -> None:
    (tiny / "mode_profile.json").write_text(BUILTIN["plain"].model_dump_json())
    with pytest.raises(AutoToolError, match="cannot be trained to decide: profile plain is of a model that cannot think"):
        trained(tiny, labelled())
    with pytest.raises(AutoToolError, match="--checkpoint /nowhere: name a checkpoint's folder or hub id"):
        train("/nowhere", labelled(), tiny.parent / "decide.json")


def test_a_training_of_the_weights_begins_without_a_head(tiny: Path) -> None:
    assert load_checkpoint(str(tiny)).profile == BUILTIN["smollm2-autotool"]


def test_the_command_says_what_the_decision_was_and_is(tiny: Path) -> None:
    records.write(tiny.parent / "labelled.jsonl", labelled())
    out = tiny.parent / "decide.json"
    words = ["decide", "--records", str(tiny.parent / "labelled.jsonl"), "--checkpoint", str(tiny), "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "40 records, 20 of them long; 0 with longer prompts left out." in result.output
    assert f"Next: autotool serve --model {tiny} --profile {out}" in result.output
