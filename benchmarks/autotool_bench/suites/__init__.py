"""The suites: what a run can be made over."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from autotool_bench.suites.base import Suite
from autotool_core.errors import AutoToolError

SUITES = MappingProxyType(
    {
        "bfcl": ("autotool_bench.suites.bfcl.suite:Bfcl", False),
        "graded": ("autotool_bench.suites.graded:Graded", False),
        "api-bank": ("autotool_bench.suites.api_bank:ApiBank", True),
        "acebench": ("autotool_bench.suites.acebench.suite:AceBench", True),
        "seal-tools": ("autotool_bench.suites.seal_tools:SealTools", True),
    }
)
"""By name: where the suite's class is, and whether it reads its data from a directory."""


def load_suite(name: str, categories: Sequence[str] | None = None, directory: Path | None = None) -> Suite:
    """Make a suite. Raises AutoToolError if there is no such suite, category or directory."""
    if name not in SUITES:
        raise AutoToolError(f"--suite {name}: use {', '.join(SUITES)}.")
    target, reads = SUITES[name]
    if reads != (directory is not None):
        raise AutoToolError(f"--suite {name}: {'name its data with --directory' if reads else 'it takes no --directory'}.")
    if directory is not None and not directory.is_dir():
        raise AutoToolError(f"--directory {directory}: there is no such directory.")
    module, _, attribute = target.partition(":")
    make = getattr(import_module(module), attribute)
    suite: Suite = make(directory, categories) if reads else make(categories)
    return suite
