"""Asks a server ten times a second whether it is alive, as a supervisor does: `python -m chaos.watch URL FILE`.

It is a process of its own, since the one with all the clients is busy. What each answer took is a line of FILE, in seconds.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]


@contextmanager
def watched(url: str, file: Path) -> Iterator[None]:
    """Watch a server meanwhile."""
    process = subprocess.Popen([sys.executable, "-m", "chaos.watch", url, str(file)], env={"PYTHONPATH": str(TESTS)})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def shown(file: Path) -> str:
    """Return the median, the 99th percentile and the longest time of all answers, in milliseconds."""
    seconds = sorted(map(float, file.read_text().split()))
    return " / ".join(f"{seconds[int((len(seconds) - 1) * part)] * 1000:.0f}" for part in (0.5, 0.99, 1))


def main() -> None:
    """Ask until killed."""
    url, file = sys.argv[1:]
    with Path(file).open("w") as out:
        while True:
            started = time.monotonic()
            try:
                urllib.request.urlopen(f"{url}/health/live").close()  # noqa: S310 a server on this machine
            except (urllib.error.URLError, ConnectionError):
                pass  # it is being started again
            else:
                print(time.monotonic() - started, file=out, flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
