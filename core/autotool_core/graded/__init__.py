"""Graded tasks: tool calls whose arguments need a known number of steps to derive. Used by training and benchmark."""

from autotool_core.graded.phrases import SPLITS, Split
from autotool_core.graded.task import LEVELS, STEPS, Task, generate, make

__all__ = ["LEVELS", "SPLITS", "STEPS", "Split", "Task", "generate", "make"]
