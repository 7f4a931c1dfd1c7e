"""The mode of requests that ask for none: the one that is set, else the first that the model has of auto, long and short."""

from pathlib import Path
from typing import Any

import pytest
from support.serving import scripted

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN, Profile, ThinkFormat
from autotool_server.conversation.service import ConversationService
from autotool_server.launch.lifecycle import make_service
from autotool_server.settings import Settings

ALWAYS = Profile(name="always", think=ThinkFormat(short_prefix=None, auto_prefix=None))
UNTRAINED = Profile(name="untrained", think=ThinkFormat(auto_prefix=None))


def service(folder: Path, profile: Profile, **settings: Any) -> ConversationService:
    file = folder / "profile.json"
    file.write_text(profile.model_dump_json())
    return make_service(scripted("Hi"), Settings(profile=str(file), generation_config="vllm", **settings))


@pytest.mark.parametrize(
    ("profile", "mode"),
    [
        (BUILTIN["qwen3"], Mode.AUTO),
        (UNTRAINED, Mode.LONG),
        (ALWAYS, Mode.LONG),
        (BUILTIN["plain"], Mode.SHORT),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_without_a_setting(tmp_path: Path, profile: Profile, mode: Mode) -> None:
    assert service(tmp_path, profile).default_mode is mode


@pytest.mark.parametrize(
    ("profile", "mode", "served"),
    [(UNTRAINED, "auto", "long"), (ALWAYS, "short", "long"), (BUILTIN["plain"], "long", "short")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_setting_that_the_model_does_not_have(tmp_path: Path, profile: Profile, mode: str, served: str) -> None:
    with pytest.raises(AutoToolError, match=f"default_mode: {mode} cannot be served: .* Set --default-mode {served}"):
        service(tmp_path, profile, default_mode=mode)


def test_a_setting_that_the_model_has(tmp_path: Path) -> None:
    assert service(tmp_path, UNTRAINED, default_mode="short").default_mode is Mode.SHORT
