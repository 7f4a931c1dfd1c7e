"""Compares the whole method with plain GRPO on dev, where plain GRPO does not collapse.

    python training/recipes/graded_free_compare.py free/compared free/compared

reads the three seeds of both arms in FOLDER, as `graded_free_measure.py` has measured them, and writes OUT.md and OUT.svg: the
table of runs, what each keeps of its entropy and length, and the paired differences. It decides no hypothesis of
docs/experiments/2026-11-29-collapse.md.
"""

import sys
from pathlib import Path

import graded_free_points as points
import graded_free_report as report
import graded_free_verdicts as verdicts
from autotool_core.console import plain_console
from graded_free_points import METHOD, PLAIN, SEEDS

SPLIT = "dev"


def main(folder: str, out: str) -> None:
    """Write the tables and the figure. Raises AutoToolError, which names the runs that are not complete."""
    runs = points.read_runs(Path(folder), SPLIT, [f"{arm}-{seed}" for arm in (PLAIN, METHOD) for seed in SEEDS], ())
    plain, method = ([runs[f"{arm}-{seed}"] for seed in SEEDS] for arm in (PLAIN, METHOD))
    held = verdicts.table([*verdicts.collapse(plain), verdicts.kept(method), verdicts.worth(method, plain)])
    text = [*report.table(runs.values()), "", *held, "", *report.comparison(runs), ""]
    for line in text:
        plain_console().print(line, soft_wrap=True)
    Path(f"{out}.md").write_text("\n".join(text), encoding="utf-8")
    report.draw(runs.values(), Path(f"{out}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
