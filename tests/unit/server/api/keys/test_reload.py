"""The keys file changes while the server runs."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from support.keys import client_of, write_keys
from support.serving import Running, running, scripted

from autotool_core.errors import AutoToolError
from autotool_server.api.keys import keyring
from autotool_server.api.state import ServerState
from autotool_server.settings import Settings


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_SECONDS", 0.0)


async def status(server: Running, key: str, path: str = "/v1/models") -> int:
    async with client_of(server, key) as client:
        return (await client.get(path)).status_code


def replace(folder: Path, keys: str, **new: Any) -> None:
    """Put a file in the place of a keys file, with the same time."""
    (folder / "new").mkdir()
    times, written = Path(keys).stat(), write_keys(folder / "new", **new)
    os.utime(written, ns=(times.st_atime_ns, times.st_mtime_ns))
    Path(written).replace(keys)


def spoil(keys: Path, text: str | None) -> None:
    keys.unlink() if text is None else keys.write_text(text)


async def test_a_changed_file_holds_without_a_restart(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={})
    async with running(scripted("x"), keys=keys) as server:
        assert [await status(server, key) for key in ("alice", "bob")] == [200, 401]
        write_keys(tmp_path, bob={"models": ["other"]})
        assert [await status(server, key) for key in ("alice", "bob")] == [401, 403]
        # Another file in its place, as editors and Kubernetes do it, of the same size and time.
        replace(tmp_path, keys, eve={"models": ["other"]})
        assert [await status(server, key) for key in ("bob", "eve")] == [401, 403]


@pytest.mark.parametrize("fault", ["[keys.bob]", "[keys", None], ids=["invalid", "no TOML", "gone"])
async def test_an_invalid_file_is_logged_and_the_keys_before_it_go_on_to_hold(
    tmp_path: Path, fault: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Path(write_keys(tmp_path, alice={}))
    async with running(scripted("x"), keys=str(keys)) as server:
        spoil(keys, fault)
        with caplog.at_level(logging.ERROR):
            assert [await status(server, "alice") for _ in range(3)] == [200, 200, 200]
        errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert errors[0].startswith(f"The keys file {keys}")
        assert errors[0].endswith("The keys before this change go on to hold.")
        write_keys(tmp_path, bob={})
        assert [await status(server, key) for key in ("alice", "bob")] == [401, 200]


async def test_new_limits_hold_at_once_for_a_key_that_was_refused(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"requests_per_minute": 1})
    body = {"model": "tested", "prompt": "?"}
    async with running(scripted("x"), keys=keys) as server, client_of(server, "alice") as client:
        statuses = [(await client.post("/v1/completions", json=body)).status_code for _ in range(2)]
        write_keys(tmp_path, alice={"requests_per_minute": 100})
        statuses.append((await client.post("/v1/completions", json=body)).status_code)
        assert statuses == [200, 429, 200]


def test_an_invalid_file_stops_the_start(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("[keys.a]")
    with pytest.raises(AutoToolError, match=r"keys\.a\.hash: This is missing"):
        ServerState(Settings(keys=str(keys)))


async def test_a_key_that_has_lost_its_target_leaves_no_series(tmp_path: Path) -> None:
    tokens = {"target": "tokens=90"}
    keys = write_keys(tmp_path, alice=tokens, bob=tokens, eve=tokens)
    async with running(scripted("x"), keys=keys) as server:
        for key in ("alice", "bob", "eve"):
            assert [await ask(server, key), await ask(server, key, target="tokens=10")] == ["tokens=90", "tokens=10"]
        assert targets(server) == {("key:alice", "tokens=90"), ("key:bob", "tokens=90"), ("key:eve", "tokens=90")}
        write_keys(tmp_path, bob=tokens, eve={"target": "tokens=50"})
        assert targets(server) == {("key:bob", "tokens=90")}  # and nobody has asked since
        assert server.state.service.targets._requested.keys() == {"bob", "eve"}
        assert await ask(server, "eve") == "tokens=50"
        assert targets(server) == {("key:bob", "tokens=90"), ("key:eve", "tokens=50")}


async def ask(server: Running, key: str, **fields: Any) -> str:
    """Return the target that an answer in auto had."""
    body = {"model": "tested", "messages": [{"role": "user", "content": "?"}], "mode": "auto", **fields}
    async with client_of(server, key) as client:
        return (await client.post("/v1/chat/completions", json=body)).json()["autotool"]["turns"][0]["target"]


def targets(server: Running) -> set[tuple[str, str]]:
    """Return the scopes and targets that the metrics have a bias of."""
    found = [metric for metric in server.state.metrics.registry.collect() if metric.name == "autotool_target_bias"]
    return {(sample.labels["scope"], sample.labels["target"]) for metric in found for sample in metric.samples}
