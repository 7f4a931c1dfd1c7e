"""The chaos suite: `python -m chaos.run [server] [fleet]`, which `make chaos` calls.

Prints a table for docs/reliability.md. Exits with 1 if a request was stuck or answered wrongly, or if anything is left behind.
"""

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from chaos import fleet, server
from chaos.report import Report

LOGS = Path(".cache") / "chaos"
"""What the parts of the last run said."""
SCENARIOS: dict[str, Callable[[Path, int, int, int], Coroutine[None, None, Report]]] = {
    "server": server.run,
    "fleet": fleet.run,
}


def main() -> None:
    """Run scenarios one after another."""
    parser = argparse.ArgumentParser(description="Send mixed requests to real servers, and kill parts of them meanwhile.")
    parser.add_argument("scenarios", nargs="*", help=f"{', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--requests", type=int, default=10_000, help="of each scenario (default: 10000)")
    parser.add_argument("--at-once", type=int, default=600, help="clients at a time (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests' order (default: 0)")
    arguments = parser.parse_args()
    # As Ctrl-C: what was started is ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    reports: list[Report] = []
    for name in arguments.scenarios or SCENARIOS:
        print(f"{name}: {arguments.requests:,} requests, {arguments.at_once} at once", flush=True)
        folder = LOGS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        report = asyncio.run(SCENARIOS[name](folder, arguments.requests, arguments.at_once, arguments.seed))
        print(report.table(), flush=True)
        reports.append(report)
    sys.exit(any(report.faults for report in reports))


if __name__ == "__main__":
    main()
