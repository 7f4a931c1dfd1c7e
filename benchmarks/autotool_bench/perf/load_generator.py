"""vLLM's own load generator, in a process that is started once: its import takes longer than a load.

It is started by its Python API, since the `vllm` command of the CPU wheel does not start.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from autotool_bench.perf import servers
from autotool_core.errors import AutoToolError

DONE = "The load has ended."
PROGRAM = f"""
import argparse, json, sys
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
for line in sys.stdin:
    main(parser.parse_args(json.loads(line)))
    print("\\n{DONE}", flush=True)
"""


class LoadGenerator:
    """A load generator that runs in `process`, and writes its errors to `log`."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, log: Path) -> None:
        self._stdin: IO[str] = process.stdin  # type: ignore[assignment]
        self._stdout: IO[str] = process.stdout  # type: ignore[assignment]
        self._result, self._log = folder / "result.json", log

    def run(self, arguments: Sequence[str], name: str) -> dict[str, Any]:
        """Load a server with these arguments of `vllm bench serve`; return its result. Raises AutoToolError if it fails.

        `name`: of the server, for the error.
        """
        saved = ["--save-result", "--result-dir", str(self._result.parent), "--result-filename", self._result.name]
        self._stdin.write(json.dumps([*arguments, *saved, "--disable-tqdm"]) + "\n")
        self._stdin.flush()
        if not any(line.strip() == DONE for line in self._stdout):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise AutoToolError(f"The load generator failed on {name}: {lines[-1] if lines else 'it wrote nothing.'}")
        return json.loads(self._result.read_text())


@contextmanager
def started(program: str = PROGRAM) -> Iterator[LoadGenerator]:
    """Run a load generator until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "errors.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=servers.environment(),
            )
        try:
            yield LoadGenerator(process, Path(folder), log)
        finally:
            process.kill()
            process.communicate()
