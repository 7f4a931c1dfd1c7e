"""Graded tasks: tool calls whose arguments need a known number of derivation steps. Training and benchmark use them."""

from autotool_core.graded.phrases import SPLITS, Split
from autotool_core.graded.task import LEVELS, STEPS, Task, generate, make

__all__ = ["LEVELS", "SPLITS", "STEPS", "Split", "Task", "generate", "make"]
