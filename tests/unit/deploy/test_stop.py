"""The deploy files give a server the time that it takes to stop, and say how much of it is the requests'."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.launch import http_server
from autotool_server.settings import Settings

ROOT = Path(__file__).parents[3]
ENGINE_SECONDS = 10
"""vLLM takes 5 to 8 seconds to stop (docs/guides/serve.md)."""
COMPOSE, DEPLOYMENT, UNIT = "compose.yaml", "deploy/kubernetes/deployment.yaml", "deploy/systemd/autotool.service"
GUIDE = "docs/guides/deploy.md"


def compose_seconds() -> int:
    """Return the time of the service after which Docker kills it."""
    period = yaml.safe_load((ROOT / COMPOSE).read_text())["x-server"]["stop_grace_period"]
    assert re.fullmatch(r"\d+m", period)
    return 60 * int(period.removesuffix("m"))


def pod_seconds() -> int:
    """Return the time of a pod, less that of its preStop hook."""
    pod = yaml.safe_load((ROOT / DEPLOYMENT).read_text())["spec"]["template"]["spec"]
    program, waiting = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    return pod["terminationGracePeriodSeconds"] - int(waiting)


def docker_seconds() -> int:
    """Return the shortest time that the guide's `docker run` gives."""
    found = re.findall(r"--stop-timeout (\d+)", (ROOT / GUIDE).read_text())
    return min(map(int, found))


def unit_seconds() -> int:
    """Return the time of the systemd unit."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", (ROOT / UNIT).read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("seconds", [compose_seconds, docker_seconds, pod_seconds, unit_seconds])
def test_a_server_has_time_to_end_its_requests_and_its_engine(seconds: Callable[[], int]) -> None:
    settings = Settings()
    connections = http_server.config(create_app(ServerState(settings))).timeout_graceful_shutdown
    assert connections is not None
    assert seconds() >= settings.drain_seconds + connections + ENGINE_SECONDS


@pytest.mark.parametrize("file", [COMPOSE, DEPLOYMENT, UNIT])
def test_the_comments_say_how_long_requests_have(file: str) -> None:
    words = f"# Requests are given {Settings().drain_seconds:g} seconds to end (AUTOTOOL_DRAIN_SECONDS)"
    assert words in (ROOT / file).read_text()
