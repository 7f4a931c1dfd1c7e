"""How a load generator that runs is told what to do, with a program of a few lines in its place."""

import pytest

from autotool_bench.perf import load_generator
from autotool_core.errors import AutoToolError

ECHO = f"""
import json, pathlib, sys
for line in sys.stdin:
    words = json.loads(line)
    if "fail" in words:
        sys.exit("no such model")
    folder, name = (words[words.index(option) + 1] for option in ("--result-dir", "--result-filename"))
    pathlib.Path(folder, name).write_text(json.dumps({{"asked": words[0]}}))
    print("\\n{load_generator.DONE}", flush=True)
"""


def test_each_load_has_its_own_result() -> None:
    with load_generator.started(ECHO) as generator:
        assert [generator.run([word], "ours") for word in ("one", "two")] == [{"asked": "one"}, {"asked": "two"}]


def test_a_failed_load_is_an_error_with_its_cause() -> None:
    with load_generator.started(ECHO) as generator, pytest.raises(AutoToolError, match="failed on ours: no such model"):
        generator.run(["fail"], "ours")
