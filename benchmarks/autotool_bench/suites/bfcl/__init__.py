"""The Berkeley Function-Calling Leaderboard, with the data and verdicts of the official `bfcl-eval` package.

The package pins versions that this project cannot have, so it is installed in a separate environment (`environment`). One
process of that environment (`worker`, controlled by `process`) serves items, runs the simulated APIs and scores answers;
`gold` makes the gold answers, and `official` runs `bfcl evaluate` on a finished run.
"""

from autotool_bench.suites.bfcl.suite import Bfcl

__all__ = ["Bfcl"]
