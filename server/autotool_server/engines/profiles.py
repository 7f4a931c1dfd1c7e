"""The profile of a checkpoint: the one that the settings name, else its own, else one recognised from its chat template.

Server, labels and training all resolve profiles here.
"""

from pathlib import Path

from autotool_core import profile as profiles
from autotool_core import tool_formats
from autotool_core.profile import Profile, ThinkFormat
from autotool_server.engines.files import find_file


def find(name: str | None, checkpoint: str, chat_template: str) -> Profile:
    """Return the profile of a name or path, else the checkpoint's own, else one that fits its chat template.

    Raises AutoToolError for a name that is neither a built-in profile nor a file.
    """
    if name is not None:
        return profiles.named(name)
    return carried_by(checkpoint) or fitting(chat_template)


def carried_by(checkpoint: str) -> Profile | None:
    """Return the profile that a folder or hub repository holds next to its weights; None if it holds none."""
    path = find_file(checkpoint, profiles.FILE_NAME)
    return profiles.load_profile(Path(path)) if path else None


def fitting(chat_template: str) -> Profile:
    """Return the profile that fits a chat template: whether it can think, and how it writes tool calls."""
    think = ThinkFormat() if "<think>" in chat_template else None
    return Profile(name="from the chat template", think=think, tool_format=tool_formats.recognise(chat_template))
