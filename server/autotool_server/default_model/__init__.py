"""The models that are known by a name: the default model, and the others in `bases`. Each is built once and cached.

A trained model is its base with the markers as tokens and this project's adapter. The base alone is known as `NAME-base`.
`autotool serve` without a model calls `ensure()`. The adapters are in this folder of a checkout; installed from a wheel, they
are a distribution of their own, since only these models need their megabytes.
"""

import errno
import gc
import hashlib
import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from importlib.util import find_spec
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from autotool_core.errors import AutoToolError
from autotool_server.default_model.bases import BASES, Base

NAME = "smollm2-135m"
"""The default model's name in the API."""


def _find_adapters() -> Path:
    in_checkout = Path(__file__).parent / "adapters"
    installed = None if in_checkout.is_dir() else find_spec("autotool_adapters")
    locations = installed.submodule_search_locations if installed is not None else None
    return Path(next(iter(locations))) if locations else in_checkout


ADAPTERS = _find_adapters()
"""The folder of the trained LoRA adapters in PEFT's format, each in a folder of its model's name with its model card. It does
not exist if only the server is installed."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

# Increase it when a change of the code changes a file of the checkpoint.
_BUILD_VERSION = 3
_KEY_DIGITS = 8

BASE = "-base"
"""What the name of a trained model's base ends with."""
_FOLDER = re.compile(rf"({'|'.join(map(re.escape, BASES))})({BASE})?-[0-9a-f]{{{_KEY_DIGITS}}}")
"""The name of a folder of `location`."""


def is_known(model: str) -> bool:
    """Return whether this is the name of a model of `BASES`, or that of its base. A folder of that name wins."""
    return _named(model) is not None


def _named(model: str) -> tuple[str, bool] | None:
    """Return the name in `BASES` and whether the trained model is meant; None if the name is not known or is a folder's."""
    if Path(model).exists():
        return None
    if model in BASES:
        return model, BASES[model].is_trained
    base = model.removesuffix(BASE)
    return (base, False) if base in BASES else None


def name_of(model: str) -> str:
    """Return the name of the known model whose checkpoint this folder is, in any cache, and any other model as it is."""
    found = _FOLDER.fullmatch(Path(model).name)
    if found is None:
        return model
    return f"{found[1]}{BASE}" if found[2] and BASES[found[1]].is_trained else found[1]


def can_think(model: str) -> bool:
    """Return whether a model may have a think block, which the bases of `BASES` lack without this project's training."""
    named = _named(model)
    return named is None or named[1]


def resolve(model: str) -> str:
    """Return the folder of a known model, which is prepared at its first use, and any other model as it is.

    Raises AutoToolError as `ensure` does.
    """
    named = _named(model)
    return model if named is None else str(ensure(name=named[0], trained=named[1]))


def resolve_tokenizer(model: str) -> str:
    """Return a folder with the tokenizer of a known model, its template and profile, and any other model as it is.

    The folder is that of the prepared checkpoint if there is one. Else no weights are built, and they are only fetched where
    the hub's files of the tokenizer cannot be had. Raises AutoToolError as `ensure` does.
    """
    named = _named(model)
    if named is None:
        return model
    base, adapter = BASES[named[0]], _adapter(BASES[named[0]], named[1])
    if (adapter is None or _is_installed(adapter)) and (whole := location(base.name, trained=named[1])).is_dir():
        return str(whole)
    if adapter is not None and not base.has_data:
        _check_adapter(adapter)
    # Only the template and the profile of an adapter matter to it.
    folder = _cache_folder() / f"{base.name}-tokenizer-{_build_key(base, adapter, ())}"

    def make(downloads: Path, scratch: Path) -> Path:
        from autotool_server.default_model import build  # noqa: PLC0415 torch takes seconds to import

        return build.build_tokenizer(base, downloads, scratch, adapter)

    _make_once(base, folder, make, f"the tokenizer of {model}")
    return str(folder)


def ensure(progress: bool = True, *, name: str = NAME, trained: bool = True) -> Path:
    """Return the folder of the prepared checkpoint. The first call builds it, which takes minutes; progress goes to stderr.

    `name`: one of `BASES`. `trained`: whether the adapter is merged into the weights, if the model has one. Training starts
    from the base without it. The cache is AUTOTOOL_CACHE_DIR, else `autotool` in the user's XDG cache
    folder. Raises AutoToolError if the adapter is not installed, there is neither a network nor a cached copy, the weights of
    a source are not the base's, or too little space is on the disk.
    """
    base = BASES[name]
    adapter = _adapter(base, trained)
    if adapter is not None:
        _check_adapter(adapter)
    checkpoint = location(name, trained=trained)

    def make(downloads: Path, scratch: Path) -> Path:
        from autotool_server.default_model import build  # noqa: PLC0415 torch takes seconds to import

        _check_room(downloads, base)
        made = build.build(base, downloads, scratch, adapter)
        # Before the folder is there, after which nobody looks for what was fetched.
        shutil.rmtree(downloads, ignore_errors=True)
        return made

    with nullcontext() if progress else redirect_stderr(io.StringIO()):
        _make_once(base, checkpoint, make, f"the model {name_of(checkpoint.name)}")
    return checkpoint


def location(name: str = NAME, *, trained: bool = True) -> Path:
    """Return the folder in which `ensure` keeps a checkpoint. It exists once the checkpoint is built."""
    base = BASES[name]
    adapter = _adapter(base, trained)
    return _cache_folder() / f"{name}{'' if adapter else BASE}-{_build_key(base, adapter)}"


def report_progress(line: str) -> None:
    """Print a line of progress to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _adapter(base: Base, trained: bool) -> Path | None:
    return ADAPTERS / base.name if trained and base.is_trained else None


def _is_installed(adapter: Path) -> bool:
    return all((adapter / name).is_file() for name in ADAPTER_FILES)


def _check_adapter(adapter: Path) -> None:
    if not _is_installed(adapter):
        raise AutoToolError(
            f"The adapter of {adapter.name} is not installed: in a checkout of AutoTool Server run `pip install "
            "./server/autotool_server/default_model/adapters`, or name another model: autotool serve --model PATH."
        )


def _make_once(base: Base, folder: Path, make: Callable[[Path, Path], Path], made: str) -> None:
    """Make a folder of the cache unless it is there, and say so; other processes wait. `make` is that of `_make`."""
    if folder.is_dir():
        return
    began = time.monotonic()
    with _explain_disk_errors(folder.parent, base):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{base.name}.lock"), base.name):
            if not folder.is_dir():
                _make(base, folder, make)
    # A line like those of the phases of a start, of which this is one.
    report_progress(f"Prepared {made} in {time.monotonic() - began:.1f} s ({folder}).")


def _make(base: Base, folder: Path, make: Callable[[Path, Path], Path]) -> None:
    """Move into place what `make` returns, which gets a folder for what it fetches, and a scratch folder beside the result."""
    # What is fetched outlives a run that was stopped, so that the next one goes on.
    downloads = folder.with_name(f"{base.name}.download")
    scratch = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    downloads.mkdir(exist_ok=True)
    scratch.mkdir()
    try:
        made = make(downloads, scratch)
        with suppress(OSError):
            downloads.rmdir()  # if nothing is in it
        made.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        gc.collect()  # the model and its adapter refer to each other, and a server that starts collects nothing by itself


def _cache_folder() -> Path:
    if folder := os.environ.get("AUTOTOOL_CACHE_DIR"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "autotool"


def _build_key(base: Base, adapter: Path | None, weights: Sequence[str] = ADAPTER_FILES) -> str:
    """Return a hash of everything that the checkpoint is built from, so that a change never finds an old checkpoint.

    `weights`: the files of the adapter that count beside its template and profile.
    """
    digest = hashlib.sha256(f"{_BUILD_VERSION} {base.sha256} {base.dtype}".encode())
    for file in base.data_files(adapter).values():
        digest.update(file.read_bytes())
    for file in [adapter / name for name in weights] if adapter is not None else []:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:_KEY_DIGITS]


def _locked(file: Path, name: str) -> AcquireReturnProxy:
    lock = FileLock(file)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        report_progress(f"Another process is preparing {name}; waiting for it ...")
        return lock.acquire()


@contextmanager
def _explain_disk_errors(cache: Path, base: Base) -> Iterator[None]:
    """Raise AutoToolError for a full or read-only disk, whichever library reports it."""
    try:
        yield
    except Exception as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)
        if is_full:
            raise _disk_full_error(cache, base) from error
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
            raise AutoToolError(f"{cache} cannot be written: set AUTOTOOL_CACHE_DIR to a writable folder.") from error
        raise


def _check_room(downloads: Path, base: Base) -> None:
    fetched = sum(file.stat().st_size for file in downloads.rglob("*") if file.is_file())
    if shutil.disk_usage(downloads).free < base.required_bytes - fetched:
        raise _disk_full_error(downloads.parent, base)


def _disk_full_error(folder: Path, base: Base) -> AutoToolError:
    gigabytes = base.required_bytes / 1e9
    return AutoToolError(
        f"Too little disk space for the model {base.name} in {folder}: it needs {gigabytes:.1f} GB. Free some space, or set "
        "AUTOTOOL_CACHE_DIR to a folder on another disk."
    )
