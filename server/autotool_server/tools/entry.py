"""What every entry of the tools file can say, whatever its kind."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from autotool_server.tools.base import Policy

DEFAULT = Policy()


class Entry(BaseModel):
    """Limits of the entry's tools. A key that is not known stops the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(default=DEFAULT.timeout, gt=0, le=3600)
    """Seconds for one call, its retries included."""
    max_result_bytes: int = Field(default=DEFAULT.max_result_bytes, ge=64)
    """Largest result of a call."""
    retries: int = Field(default=DEFAULT.retries, ge=0, le=10)
    """How often a failed call of an idempotent tool is tried again."""
    read_only: list[str] = []
    """Tools, by name without the namespace or by pattern (`get_*`), that change nothing."""
    idempotent: list[str] = []
    """Tools, by name or pattern, that may be called twice."""

    def beside(self, folder: Path) -> Self:
        """The entry with its relative paths as they are seen from the folder of its file."""
        del folder
        return self

    def policy(self, name: str, *, read_only: bool = False, idempotent: bool = False) -> Policy:
        """The policy of one tool: what its kind already knows of it, and what the entry says. Read-only is idempotent."""
        read_only = read_only or _any_matches(self.read_only, name)
        return Policy(
            timeout=self.timeout,
            max_result_bytes=self.max_result_bytes,
            retries=self.retries,
            read_only=read_only,
            idempotent=read_only or idempotent or _any_matches(self.idempotent, name),
        )


def _any_matches(patterns: list[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
