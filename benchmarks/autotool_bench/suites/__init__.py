"""The registry of suites."""

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
        "own": ("autotool_bench.suites.own:Own", True),
    }
)
"""Suites by name: `module:class`, and whether the suite reads its data from a directory, or a file in its place."""


def load_suite(name: str, categories: Sequence[str] | None = None, directory: Path | None = None) -> Suite:
    """Make the suite of this name. Raises AutoToolError for an unknown suite or category, and for a missing directory."""
    if name not in SUITES:
        raise AutoToolError(f"--suite {name}: use {', '.join(SUITES)}.")
    target, needs_directory = SUITES[name]
    if needs_directory != (directory is not None):
        raise AutoToolError(
            f"--suite {name}: {'name its data with --directory' if needs_directory else 'it takes no --directory'}."
        )
    if directory is not None and not directory.exists():
        raise AutoToolError(f"--directory {directory}: there is no such directory.")
    module, _, attribute = target.partition(":")
    make = getattr(import_module(module), attribute)
    suite: Suite = make(directory, categories) if needs_directory else make(categories)
    return suite
