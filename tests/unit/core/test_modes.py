"""The resolution of a request's mode."""

from typing import Any

import pytest

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode, ModeSwitch, resolve, split_alias

AUTO, LONG, SHORT = Mode


@pytest.mark.parametrize(
    ("model", "name", "mode"),
    [
        ("qwen3", "qwen3", None),
        ("qwen3:long", "qwen3", LONG),
        ("qwen3:short", "qwen3", SHORT),
        ("Qwen/Qwen3-8B:auto", "Qwen/Qwen3-8B", AUTO),
        ("llama:8b", "llama:8b", None),
        ("llama:8b:long", "llama:8b", LONG),
        ("qwen3:LONG", "qwen3:LONG", None),
        ("qwen3:", "qwen3:", None),
        (":long", ":long", None),
        ("long", "long", None),
        ("", "", None),
    ],
)
def test_aliases(model: str, name: str, mode: Mode | None) -> None:
    assert split_alias(model) == (name, mode)


def fields(mode: Mode | None, alias: Mode | None, effort: Mode | None) -> dict[str, Mode | None]:
    """The fields of a body that can ask for a mode, with what each asks for."""
    return {"mode": mode, "model": alias, "reasoning_effort": effort}


@pytest.mark.parametrize(
    ("mode", "alias", "effort", "default", "resolved"),
    [
        (None, None, None, SHORT, SHORT),
        (LONG, None, None, SHORT, LONG),
        (None, LONG, None, SHORT, LONG),
        (None, None, LONG, SHORT, LONG),
        (None, None, AUTO, SHORT, AUTO),
        (LONG, LONG, LONG, SHORT, LONG),
    ],
)
def test_the_mode_of_the_request_wins_over_the_default(
    mode: Mode | None, alias: Mode | None, effort: Mode | None, default: Mode, resolved: Mode
) -> None:
    assert resolve(fields(mode, alias, effort), default) is resolved


@pytest.mark.parametrize(
    ("mode", "alias", "effort", "names"),
    [
        (LONG, SHORT, None, ["mode", "model"]),
        (LONG, None, SHORT, ["mode", "reasoning_effort"]),
        (None, AUTO, LONG, ["model", "reasoning_effort"]),
        (LONG, LONG, AUTO, ["mode", "model", "reasoning_effort"]),
    ],
)
def test_fields_that_disagree_are_refused(mode: Mode | None, alias: Mode | None, effort: Mode | None, names: list[str]) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        resolve(fields(mode, alias, effort), AUTO)
    assert refusal.value.field == names[0]
    assert refusal.value.status == 400
    assert refusal.value.code == "conflicting_modes"
    assert all(f"{field} asks for" in str(refusal.value) for field in names)


@pytest.mark.parametrize(
    ("switch", "fields"),
    [
        (ModeSwitch.MODE, {"mode": "long"}),
        (ModeSwitch.ENABLE_THINKING, {"chat_template_kwargs": {"enable_thinking": True}}),
        (ModeSwitch.REASONING_EFFORT, {"reasoning_effort": "high"}),
        (ModeSwitch.NONE, {}),
    ],
)
def test_a_switch_names_the_field_that_asks_for_a_mode(switch: ModeSwitch, fields: dict[str, Any]) -> None:
    assert switch.fields(Mode.LONG) == fields
