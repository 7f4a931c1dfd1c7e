"""The separate environment of the official BFCL package: created once, kept in the user's cache folder.

`bfcl-eval` pins numpy 1.26, tree-sitter 0.21 and other versions that this project cannot have.
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

from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError

VERSION = "2026.3.23"
"""Version of `bfcl-eval`. Data, rules and weights change between releases, so a figure belongs to one release."""

INTERPRETER = "AUTOTOOL_BFCL_PYTHON"
"""Variable that names an interpreter which has the package already; nothing is installed then."""

# torch is installed first, so that the package's requirement does not fetch a newer one. soundfile is imported by a model
# handler of the package and missing from its requirements.
_STEPS: tuple[tuple[str, ...], ...] = (("torch==2.13.0",), (f"bfcl-eval=={VERSION}", "soundfile>=0.12"))
# numpy 1.26 and tree-sitter 0.21 have no wheels for later Pythons.
_PYTHONS = ((3, 11), (3, 12))
_VERSION_OF = "from importlib.metadata import version; print(version('bfcl-eval'))"


def ensure() -> Path:
    """Return the interpreter that has `bfcl-eval`. The first call creates its environment, which takes minutes.

    Progress goes to stderr. Raises AutoToolError if the environment cannot be created (with the path of pip's log), or if
    AUTOTOOL_BFCL_PYTHON names an interpreter without the package.
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
    """Return AUTOTOOL_CACHE_DIR, or `autotool` in the user's XDG cache folder. The default model is cached there too."""
    if own := os.environ.get("AUTOTOOL_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "autotool"


def variables(root: Path) -> dict[str, str]:
    """Return the environment variables of the package's processes, which keep their files under `root`.

    The official code evaluates calls that a model wrote, so it inherits no keys. It needs no network, so no proxies either.
    """
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }
    # The official handler creates an OpenAI client, which is never used here, and which needs a key.
    return kept | {"BFCL_PROJECT_ROOT": str(root.absolute()), "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}


def _is_ready(python: Path, stamp: Path) -> bool:
    # `python` is a dangling link if the base interpreter was removed.
    return stamp.exists() and python.exists()


def _checked(python: Path) -> Path:
    try:
        done = subprocess.run([python, "-I", "-c", _VERSION_OF], capture_output=True, text=True, check=False)  # noqa: S603 - the user's
    except OSError as error:
        raise AutoToolError(
            f"{INTERPRETER} does not name a Python that can be run ({error.strerror}): correct or unset it."
        ) from error
    if done.returncode != 0:
        raise AutoToolError(
            f"The Python that {INTERPRETER} names has no bfcl-eval: install bfcl-eval=={VERSION} and soundfile there."
        )
    if (installed := done.stdout.strip()) != VERSION:
        raise AutoToolError(
            f"The Python that {INTERPRETER} names has bfcl-eval {installed}: install bfcl-eval=={VERSION} there."
        )
    return python


def _make(folder: Path, python: Path) -> None:
    """Create the environment in its final place, because an environment cannot be moved; the caller marks it as complete."""
    log = folder.with_name(f"{folder.name}.log")
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    console = plain_console(stderr=True)
    console.print(f"Creating the environment of bfcl-eval {VERSION}, once; it takes minutes and at least 2 GB (log: {log}).")
    with log.open("wb") as out, console.status("") as status:
        _run([_base_python(), "-m", "venv", folder], out, log, "venv")
        for step in _STEPS:
            status.update(f"pip install {' '.join(step)} ...")
            # Few of the modules are ever imported, and compiling all of them takes longer than fetching them.
            _run([python, "-m", "pip", "install", "--no-compile", *step, *_torch_index(step)], out, log, "pip")


def _torch_index(step: Sequence[str]) -> list[str]:
    """Return pip's option for the index of torch's CPU build, from the variable that `make env` reads too."""
    index = os.environ.get("TORCH_INDEX_URL")
    return ["--index-url", index] if index and step[0].startswith("torch") else []


def _run(command: Sequence[str | Path], out: BinaryIO, log: Path, tool: str) -> None:
    # Few retries, so that an index that does not answer fails within seconds.
    variables = {"PIP_RETRIES": "2"} | os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(command, stdout=out, stderr=out, env=variables, check=False)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        errors = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"{tool} ended with status {done.returncode}"
        raise AutoToolError(f"The environment of bfcl-eval could not be created: {reason.rstrip('.')} ({tool}'s log: {log}).")


def _base_python() -> str:
    if sys.version_info[:2] in _PYTHONS:
        return sys.executable
    names = [f"python{major}.{minor}" for major, minor in reversed(_PYTHONS)]
    if interpreter := next(filter(None, map(shutil.which, names)), None):
        return interpreter
    raise AutoToolError(
        f"bfcl-eval {VERSION} needs {' or '.join(names)}, and none is on PATH: install one, or set {INTERPRETER}."
    )
