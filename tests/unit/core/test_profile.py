"""Profiles: the built-in ones, and one read from a checkpoint's file."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autotool_core import tool_formats
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN, FILE_NAME, DecisionHead, Profile, ThinkFormat, load_profile


def test_the_built_in_profiles() -> None:
    assert {name: (profile.think is not None, profile.tool_format.name) for name, profile in BUILTIN.items()} == {
        "qwen3": (True, "hermes"),
        "qwen3-coder": (False, "qwen3_coder"),
        "smollm2-autotool": (True, "hermes"),
        "plain": (False, "hermes"),
    }


def test_the_prefix_of_each_mode() -> None:
    prefixes = {mode: BUILTIN["qwen3"].prefix(mode) for mode in Mode}
    assert prefixes == {Mode.LONG: "<think>\n", Mode.SHORT: "<think>\n\n</think>\n\n", Mode.AUTO: "<think>"}


@pytest.mark.parametrize("profile", [profile for profile in BUILTIN.values() if profile.think])
def test_the_decision_continues_the_prefix_of_auto(profile: Profile) -> None:
    auto = profile.prefix(Mode.AUTO)
    rests = {profile.prefix(mode).removeprefix(auto) for mode in (Mode.LONG, Mode.SHORT)}
    assert len(rests) == 2
    assert all(profile.prefix(mode).startswith(auto) for mode in Mode)


@pytest.mark.parametrize("mode", Mode)
def test_a_model_that_cannot_think_has_no_prefix(mode: Mode) -> None:
    assert BUILTIN["plain"].prefix(mode) == ""


def test_profiles_are_immutable() -> None:
    with pytest.raises(ValidationError):
        BUILTIN["qwen3"].name = "other"  # type: ignore[misc]


def test_a_profile_is_read_back_from_its_file(tmp_path: Path) -> None:
    think = ThinkFormat(open="[THINK]", close="[/THINK]", long_prefix="[THINK]", short_prefix="[THINK][/THINK]")
    profile = Profile(name="mine", think=think, tool_format=tool_formats.get("qwen3_coder"))
    (tmp_path / FILE_NAME).write_text(profile.model_dump_json(), encoding="utf-8")
    assert json.loads((tmp_path / FILE_NAME).read_text())["tool_format"] == "qwen3_coder"
    assert load_profile(tmp_path / FILE_NAME) == profile


def test_fields_missing_in_a_file_have_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('{"name": "qwen3"}')
    assert load_profile(path) == BUILTIN["qwen3"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"think": None}, "name"),
        ({"name": "a", "tool_format": "brackets"}, "tool_format"),
        ({"name": "a", "tool_format": ["hermes"]}, "tool_format"),
        ({"name": "a", "think": {"opened": "<think>"}}, "think.opened"),
        ({"name": "a", "thinking": True}, "thinking"),
        ([], "the file"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_field(tmp_path: Path, content: Any, field: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(content))
    with pytest.raises(AutoToolError, match=rf"{FILE_NAME}: {field}: ") as refusal:
        load_profile(path)
    assert "brackets" not in str(refusal.value)


def test_an_unknown_tool_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('{"name": "a", "tool_format": "base"}')
    known = ", ".join(tool_formats.names())
    with pytest.raises(AutoToolError, match=rf"tool_format: Input should be a known tool format: {known}$"):
        load_profile(path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"\xff{")
    with pytest.raises(AutoToolError, match="the file: "):
        load_profile(path)


def test_a_decision_head_is_read_back_from_a_file(tmp_path: Path) -> None:
    head = DecisionHead(tokens=(7, 1), weights=(0.1, -0.1), intercept=2.0)
    profile = BUILTIN["qwen3"].model_copy(update={"decision_head": head, "decision_bias": -1.5})
    (tmp_path / FILE_NAME).write_text(profile.model_dump_json(), encoding="utf-8")
    assert load_profile(tmp_path / FILE_NAME) == profile
    assert profile.without_decision() == BUILTIN["qwen3"]


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        ({"tokens": [1, 2], "weights": [1.0], "intercept": 0}, "one number for each"),
        ({"tokens": [1, 1], "weights": [1.0, -1.0], "intercept": 0}, "tokens must differ"),
        ({"tokens": [1, 2], "weights": [1.0, -0.9], "intercept": 0}, "sum of weights"),
        ({"tokens": [0, 2], "weights": [1.0, -1.0], "intercept": 0}, "greater than or equal to 1"),
        ({"tokens": [*range(1, 128)], "weights": [0.0] * 127, "intercept": 0}, "at most 126"),
    ],
)
def test_a_faulty_decision_head_is_refused(tmp_path: Path, head: dict[str, Any], fault: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps({"name": "mine", "decision_head": head}))
    with pytest.raises(AutoToolError, match=f"decision_head.*{fault}"):
        load_profile(path)
