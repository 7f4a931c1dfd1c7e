"""Figures of finished runs: the report's tables and pages, the comparison of two runs, and the dial's plot."""

from autotool_bench.report.compare import compare
from autotool_bench.report.dial import write_dial
from autotool_bench.report.write import write_report

__all__ = ["compare", "write_dial", "write_report"]
