"""The environment of its own that the official BFCL package gets: made once, kept in the user's cache folder.

`bfcl-eval` pins numpy 1.26, tree-sitter 0.21 and others that this project cannot have, hence a second interpreter.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock
from rich.console import Console

from autotool_core.errors import AutoToolError

VERSION = "2026.3.23"
"""Of `bfcl-eval`: data, rules and weights change between releases, so a figure belongs to one."""

INTERPRETER = "AUTOTOOL_BFCL_PYTHON"
"""Names an interpreter that has the package already; nothing is installed then."""

# torch comes first and alone: only with it in place does the package's own requirement not fetch a newer one. soundfile is
# imported by a model handler of the package and missing from its requirements.
_STEPS: tuple[tuple[str, ...], ...] = (("torch==2.13.0",), (f"bfcl-eval=={VERSION}", "soundfile>=0.12"))
# numpy 1.26 and tree-sitter 0.21 have no wheels for later Pythons.
_PYTHONS = ((3, 11), (3, 12))
_VERSION_OF = "from importlib.metadata import version; print(version('bfcl-eval'))"


def ensure() -> Path:
    """The interpreter that has `bfcl-eval`; the first call makes its environment, which takes minutes. Progress goes to stderr.

    Raises AutoToolError where it cannot be made (with the path of pip's log), or AUTOTOOL_BFCL_PYTHON names one without it.
    """
    if named := os.environ.get(INTERPRETER):
        return _checked(Path(named).expanduser())
    folder = cache_folder() / f"bfcl-eval-{VERSION}-{hashlib.sha256(repr(_STEPS).encode()).hexdigest()[:8]}"
    python, stamp = folder / "bin" / "python", folder / ".ready"
    if _is_ready(python, stamp):
        return python
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not _is_ready(python, stamp):
                _make(folder, python)
                stamp.touch()
    except OSError as error:
        raise AutoToolError(
            f"{folder} cannot be written ({error.strerror}): set AUTOTOOL_CACHE_DIR to a folder that can."
        ) from error
    return python


def cache_folder() -> Path:
    """AUTOTOOL_CACHE_DIR, else `autotool` in the user's XDG cache folder: where the server keeps the default model too."""
    if own := os.environ.get("AUTOTOOL_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "autotool"


def variables(root: Path) -> dict[str, str]:
    """The environment variables of the package's processes, which keep their files under `root`.

    The official code evaluates the calls that a model wrote, so it inherits no keys, and no proxies for it needs no network.
    """
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }
    # The official handler makes an OpenAI client when it is made, and never uses it here.
    return kept | {"BFCL_PROJECT_ROOT": str(root.absolute()), "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}


def _is_ready(python: Path, stamp: Path) -> bool:
    # The link dangles once the Python that it was made with is gone.
    return stamp.exists() and python.exists()


def _checked(python: Path) -> Path:
    try:
        done = subprocess.run([python, "-I", "-c", _VERSION_OF], capture_output=True, text=True, check=False)  # noqa: S603 - the user's
    except OSError as error:
        raise AutoToolError(
            f"{INTERPRETER} does not name a Python that can be run ({error.strerror}): mend or unset it."
        ) from error
    if done.returncode != 0:
        raise AutoToolError(
            f"The Python that {INTERPRETER} names has no bfcl-eval: install bfcl-eval=={VERSION} and soundfile there."
        )
    if (found := done.stdout.strip()) != VERSION:
        raise AutoToolError(f"The Python that {INTERPRETER} names has bfcl-eval {found}: install bfcl-eval=={VERSION} there.")
    return python


def _make(folder: Path, python: Path) -> None:
    """Make the environment in its place, for one cannot be moved; the stamp says that it is whole."""
    log = folder.with_name(f"{folder.name}.log")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    console = Console(stderr=True)
    console.print(f"Making the environment of bfcl-eval {VERSION}, once; it takes minutes and 2 GB or more (log: {log}).")
    with log.open("wb") as out, console.status("") as status:
        _run([_base_python(), "-m", "venv", folder], out, log, "venv")
        for step in _STEPS:
            status.update(f"pip install {' '.join(step)} ...")
            _run([python, "-m", "pip", "install", *step, *_torch_index(step)], out, log, "pip")


def _torch_index(step: Sequence[str]) -> list[str]:
    """`make env` reads the variable too: the package index that has the CPU build of torch."""
    index = os.environ.get("TORCH_INDEX_URL")
    return ["--index-url", index] if index and step[0].startswith("torch") else []


def _run(command: Sequence[str | Path], out: BinaryIO, log: Path, what: str) -> None:
    # An index that does not answer is given up after seconds, not minutes.
    variables = {"PIP_RETRIES": "2"} | os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(command, stdout=out, stderr=out, env=variables, check=False)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        why = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        said = why[-1].removeprefix("ERROR: ") if why else f"{what} ended with status {done.returncode}"
        raise AutoToolError(f"The environment of bfcl-eval could not be made: {said.rstrip('.')} ({what}'s log: {log}).")


def _base_python() -> str:
    if sys.version_info[:2] in _PYTHONS:
        return sys.executable
    names = [f"python{major}.{minor}" for major, minor in reversed(_PYTHONS)]
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    raise AutoToolError(
        f"bfcl-eval {VERSION} needs {' or '.join(names)}, and none is on PATH: install one, or set {INTERPRETER}."
    )
