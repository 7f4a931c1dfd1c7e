"""The keys that hold now: those of the keys file, which is read again when it changes."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from autotool_core.api_keys import hash_of
from autotool_core.errors import AutoToolError
from autotool_core.target import Target
from autotool_server.api.keys.file import Key, read_keys
from autotool_server.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Least time between two looks at whether the file has changed."""


class Keyring:
    """The keys of a file. Raises AutoToolError for an invalid one at the start; later the keys before it go on to hold.

    `has_store`, `has_dial`: as of `read_keys`.
    """

    def __init__(self, path: Path, *, has_store: bool, has_dial: bool = True) -> None:
        self._path = path
        self._read = partial(read_keys, path, has_store=has_store, has_dial=has_dial)
        # Before the file is read, so that a change in between is seen at the next look.
        self._version = _version(path)
        self._keys = self._read()
        self._next_look = time.monotonic() + LOOK_SECONDS

    def find(self, text: str) -> Key | None:
        """Return the key that a client has sent; None for one that is not in the file."""
        return self._current().get(hash_of(text))

    def targets(self) -> dict[str, Target | None]:
        """Return the target of each key that holds now, by its name; None for a key without one."""
        return {key.name: key.caller.target for key in self._current().values()}

    def _current(self) -> Mapping[str, Key]:
        """Return the keys that hold now, by their hashes, after a look at the file if one is due."""
        if time.monotonic() >= self._next_look:
            self.reload()
        return self._keys

    def reload(self) -> None:
        """Read the file again if it has changed."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = self._read()
        except AutoToolError as error:
            logger.error("%s The keys before this change go on to hold.", error)  # noqa: TRY400 the mend is in the message
        else:
            logger.warning("The keys file %s has changed: %d keys hold now.", self._path, len(self._keys))


def make_keyring(settings: Settings) -> Keyring | None:
    """Return the keys of the settings' file; None without one. Raises AutoToolError for an invalid file."""
    if settings.keys is None:
        return None
    return Keyring(Path(settings.keys), has_store=settings.spend_store is not None, has_dial=settings.dial is not None)


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the file, which may be a link to another one each time, as in Kubernetes."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
