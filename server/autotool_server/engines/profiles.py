"""The profile of a checkpoint: the one that the settings name, else its own, else one recognised from its chat template.

Server, labels, training and `autotool models inspect` all resolve profiles here.
"""

from pathlib import Path

from autotool_core import profile as profiles
from autotool_core.profile import Profile
from autotool_core.recognition import Recognition, recognise
from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.files import find_file


def find(name: str | None, checkpoint: str, tokenizer: Tokenizer) -> Recognition:
    """Return the profile of a name or path, else the checkpoint's own, else one that fits its chat template, and why.

    Raises AutoToolError for a name that is neither a built-in profile nor a file, and for a tokenizer without chat template.
    """
    if name is not None:
        return Recognition(profiles.named(name), (f"The setting profile names {name}.",))
    if carried := carried_by(checkpoint):
        return Recognition(carried, (f"The checkpoint holds its own profile, {profiles.FILE_NAME}.",))
    return recognise(tokenizer)


def carried_by(checkpoint: str) -> Profile | None:
    """Return the profile that a folder or hub repository holds next to its weights; None if it holds none."""
    path = find_file(checkpoint, profiles.FILE_NAME)
    return profiles.load_profile(Path(path)) if path else None
