"""The image's health check, run against a server on another port."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOCKERFILE = re.sub(r"\\\n\s*", "", (Path(__file__).parents[3] / "Dockerfile").read_text())


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """Answer every GET with a status; give the port and the paths that were asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(port: int) -> int:
    """Run the health check's command with AUTOTOOL_PORT; return its exit status."""
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    command = json.loads(found[1])
    assert command[0] == "python"
    environment = {**os.environ, "AUTOTOOL_PORT": str(port)}
    return subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False).returncode


def test_the_health_check_follows_the_port() -> None:
    with answering(200) as (port, paths):
        assert check(port) == 0
    assert paths == ["/health/ready"]


def test_a_server_that_cannot_serve_is_unhealthy() -> None:
    with answering(503) as (port, paths):
        assert check(port) != 0
    assert paths == ["/health/ready"]


def test_address_and_port_are_variables_of_the_image() -> None:
    assert "AUTOTOOL_HOST=0.0.0.0" in DOCKERFILE
    assert "AUTOTOOL_PORT=8000" in DOCKERFILE
    assert 'ENTRYPOINT ["autotool", "serve"]' in DOCKERFILE


def test_what_is_downloaded_or_compiled_stays_in_the_volume() -> None:
    folders = dict(re.findall(r"(AUTOTOOL_CACHE_DIR|HF_HOME|VLLM_CACHE_ROOT)=(\S+)", DOCKERFILE))
    assert len(folders) == 3
    assert "\nVOLUME /models\n" in DOCKERFILE
    assert all(folder.startswith("/models/") for folder in folders.values())


def test_the_image_has_what_several_pods_need_to_store_responses() -> None:
    found = re.search(r'pip install "\.\[([\w$,-]+)\]"', DOCKERFILE)
    assert found is not None
    assert {"server", "postgresql", "$ENGINE"} == set(found[1].split(","))
