"""Uploading a checkpoint by the hub's own client to a server that speaks its protocol, and what is said if that fails."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from support import hub as fake_hub
from support.hub import TOKEN, USER, Hub

from autotool_core.errors import AutoToolError
from autotool_training.common.hub import push_checkpoint

CHECKPOINT = Path(__file__).parents[4] / "training/checkpoints/graded-tiny"
OF_THE_RUN = (
    "steps/checkpoint-1/model.safetensors",
    "tensorboard/events",
    "best/config.json",
    "best.part/config.json",
    "adapter/adapter_config.json",
    "metrics.jsonl",
    "run.json",
    "targets.json",
)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with fake_hub.serving() as served:
        yield served


@pytest.fixture
def _logged_in(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """What the client reads from its environment when it is imported, and the token, which it reads each time."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has ended, with all that one may leave there."""
    folder = tmp_path_factory.mktemp("run") / "rl"
    shutil.copytree(CHECKPOINT, folder)
    for name in OF_THE_RUN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_the_command_uploads_the_checkpoint_without_its_run(run: Path, hub: Hub) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    program = [sys.executable, "-c", "from autotool_cli.main import main; main()"]
    command = [*program, "train", "push", str(run), "command", "--private"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, f"The checkpoint is at {hub.url}/{USER}/command.\n"), done.stderr
    made = hub.repositories[f"{USER}/command"]
    assert made.visibility == "private"
    assert made.files == {file.name: file.read_bytes() for file in CHECKPOINT.iterdir()}


@pytest.mark.usefixtures("_logged_in")
def test_a_repository_that_is_there_gets_the_new_files_unless_it_is_public_and_private_is_asked_for(
    run: Path, hub: Hub, tmp_path: Path
) -> None:
    push_checkpoint(run, "again", private=False)
    assert hub.repositories[f"{USER}/again"].visibility == "the default of its owner"
    (changed := tmp_path / "rl").mkdir()
    (changed / "mode_profile.json").write_text("{}")
    with pytest.raises(AutoToolError, match="ada/again is there already and public: make it private"):
        push_checkpoint(changed, f"{USER}/again", private=True)
    profile = (CHECKPOINT / "mode_profile.json").read_bytes()
    assert hub.repositories[f"{USER}/again"].files["mode_profile.json"] == profile
    assert push_checkpoint(changed, f"{USER}/again", private=False) == f"{hub.url}/{USER}/again"
    assert hub.repositories[f"{USER}/again"].files["mode_profile.json"] == b"{}"


@pytest.mark.usefixtures("_logged_in")
@pytest.mark.parametrize(
    ("token", "name", "message"),
    [
        (
            "hf_expired",
            "model",
            r"Invalid username or password\. Log in by `hf auth login`, or set HF_TOKEN, with a token that",
        ),
        (TOKEN, "bob/model", r"You don't have the rights .* namespace of bob/model\. Log in by `hf auth login`"),
        (TOKEN, "a b", r"The hub has no repository of the name 'a b': Repo id must use alphanumeric chars"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(
    run: Path, monkeypatch: pytest.MonkeyPatch, token: str, name: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(AutoToolError, match=message):
        push_checkpoint(run, name, private=True)


@pytest.mark.usefixtures("_logged_in")
def test_a_hub_that_cannot_be_reached_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(AutoToolError, match=r"The upload to ada/model failed: ConnectError: .*Is the hub reachable\?"):
        push_checkpoint(run, "ada/model", private=False)


def test_a_folder_without_a_finished_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="holds no finished checkpoint"):
        push_checkpoint(tmp_path, "ada/model", private=False)
