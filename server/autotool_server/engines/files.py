"""Find the files of a checkpoint."""

from transformers.utils.hub import cached_file


def find_file(source: str, name: str) -> str | None:
    """Return the path of a file of a local folder or hub id; None if it has no such file or cannot be reached."""
    return cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
