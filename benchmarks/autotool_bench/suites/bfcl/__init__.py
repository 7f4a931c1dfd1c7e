"""The Berkeley Function-Calling Leaderboard: data and verdicts are the official `bfcl-eval` package's.

The package pins what this project cannot have, so it lives in an environment of its own (`environment`). One process of that
environment (`worker`, spoken to by `process`) hands out items, runs the simulated APIs and judges; `gold` writes the answers
that prove the items, and `official` puts a finished run through `bfcl evaluate`.
"""

from autotool_bench.suites.bfcl.suite import Bfcl

__all__ = ["Bfcl"]
