"""What every entry of the tools file can say, whatever its kind, and what a tool of an entry is called."""

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import Policy, ToolSpec

DEFAULT = Policy()
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


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

    def check(self, where: str, namespace: str, specs: Sequence[ToolSpec]) -> None:
        """Raise AutoToolError where two tools have one name, or a pattern is of none, which is a typing error."""
        counts = Counter(spec.name.removeprefix(f"{namespace}.") for spec in specs)
        for name, count in counts.items():
            if count > 1:
                raise AutoToolError(f"{where} has two tools named {namespace}.{name}. Rename one or leave it out.")
        for key, patterns in (("read_only", self.read_only), ("idempotent", self.idempotent)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in counts):
                    raise AutoToolError(f"{where} {key}: no tool of it is named {pattern!r}. There are: {', '.join(counts)}.")


def tool_name(where: str, namespace: str, name: str) -> str:
    """The name with its namespace. Raises AutoToolError where that is no name of a tool."""
    full = f"{namespace}.{name}"
    if not NAME.fullmatch(full):
        raise AutoToolError(
            f"{where}: {full!r} is not a name for a tool: use letters, digits, '_', '.' and '-', at most 64 in all."
        )
    return full


def _any_matches(patterns: list[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
