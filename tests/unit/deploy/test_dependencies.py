"""Every import of a package is of the standard library, or declared: by the base install or by the extra of its command.

What is imported by a command that needs further extras, and asks for them, is left out.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = {
    "autotool_cli": "cli",
    "autotool_core": "core",
    "autotool_client": "clients/python",
    "autotool_server": "server",
    "autotool_training": "training",
    "autotool_bench": "benchmarks",
}
ASKED_FOR = (
    "autotool_bench.cli_calibrate",
    "autotool_bench.own_server",
    "autotool_bench.perf.",
    "autotool_bench.suites.own",
    "autotool_server.engines.vllm",
    "autotool_bench.suites.bfcl.worker",
    "autotool_client.chat.keyboard",
    "autotool_training.pipeline.serve_address",
)
PERF_CLI = "autotool_bench.perf.cli"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROVIDERS = metadata.packages_distributions()


def file_of(module: str) -> Path | None:
    """Return the file of a module of this project."""
    path = ROOT / FOLDERS[module.partition(".")[0]] / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def modules_of(package: str) -> Iterator[str]:
    folder = ROOT / FOLDERS[package]
    for file in (folder / package).rglob("*.py"):
        module = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        if module.startswith(PERF_CLI) or not module.startswith(ASKED_FOR):
            yield module


@cache
def imports(module: str) -> frozenset[str]:
    """Return the names that a module imports, anywhere but for types alone."""
    file = file_of(module)
    if file is None:
        return frozenset()
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def reached(package: str) -> dict[str, str]:
    """Return the top-level modules of others that a package imports, itself or by modules of this project, and where."""
    outside: dict[str, str] = {}
    waiting, seen = list(modules_of(package)), set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen or (module.startswith(ASKED_FOR) and not module.startswith(PERF_CLI)):
            continue
        seen.add(module)
        for name in imports(module):
            top = name.partition(".")[0]
            if top in FOLDERS:
                waiting.append(name)
            elif top not in sys.stdlib_module_names:
                outside[top] = module
    return outside


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    return normal(re.split(r"[^\w.-]", requirement.strip())[0])


def requirements(distribution: str) -> Iterator[str]:
    for text in metadata.requires(distribution) or ():
        requirement, _, marker = text.partition(";")
        if "extra" not in marker:
            yield name_of(requirement)


def closure(names: set[str]) -> set[str]:
    """Return distributions with all that they require, extras of theirs left out."""
    known, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            try:
                waiting += requirements(name)
            except metadata.PackageNotFoundError:
                continue
    return known


def extras_of(extra: str | None) -> list[str]:
    return [] if extra is None else PROJECT["optional-dependencies"][extra]


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("autotool_cli", None),
        ("autotool_core", "server"),
        ("autotool_client", None),
        ("autotool_server", "server"),
        ("autotool_training", "train"),
        ("autotool_bench", "bench"),
    ],
)
def test_what_a_package_imports_is_declared(package: str, extra: str | None) -> None:
    declared = {name_of(requirement) for requirement in (*PROJECT["dependencies"], *extras_of(extra))}
    provided = closure(declared)
    missing = {
        name: module
        for name, module in reached(package).items()
        if not any(normal(distribution) in provided for distribution in PROVIDERS.get(name, ()))
    }
    assert not missing
