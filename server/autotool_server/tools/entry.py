"""The settings that every entry of the tools file has, and the names of its tools."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import Approval, Policy, ToolSpec

DEFAULT = Policy()
MAX_NAME_CHARACTERS = 64
MAX_LISTED_CHARACTERS = 1000
NAME = re.compile(rf"[a-zA-Z0-9_.-]{{1,{MAX_NAME_CHARACTERS}}}")


class Entry(BaseModel):
    """The limits of an entry's tools. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(default=DEFAULT.timeout, gt=0, le=3600)
    """Seconds for one call, retries included."""
    max_result_bytes: int = Field(default=DEFAULT.max_result_bytes, ge=64)
    """The largest result of a call, in bytes of UTF-8."""
    retries: int = Field(default=DEFAULT.retries, ge=0, le=10)
    """The number of retries after a failed call of an idempotent tool."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """The limit of calls of a tool that run at the same time, over all requests; others wait."""
    calls_per_minute: int | None = Field(default=None, ge=1)
    """The limit of calls of a tool that start in any 60 seconds, over all requests; others wait, for as long as `timeout`."""
    max_failures: int = Field(default=DEFAULT.max_failures, ge=0)
    """Failures of a tool in a row, time-outs and failures of its service, after which its calls are refused for a while; 0 for
    no refusals."""
    read_only: list[str] = []
    """Tools, by name without the namespace or by pattern (`get_*`), that change nothing."""
    idempotent: list[str] = []
    """Tools, by name or pattern, for which a second call with the same arguments changes nothing more."""
    repeatable: list[str] = []
    """Tools, by name or pattern, that are called again when the model repeats a call within a request."""
    approval: dict[str, Approval] = {}
    """When the user must approve a call, by name or pattern of the tool, the first that matches; one text is for all tools."""

    @field_validator("approval", mode="before")
    @classmethod
    def _of_all_tools(cls, value: Any) -> Any:
        if not isinstance(value, str | dict):
            message = "give 'never', 'first' or 'always', or a table of them by the tool's name or pattern"
            raise ValueError(message)  # noqa: TRY004 pydantic reports this kind
        return {"*": value} if isinstance(value, str) else value

    def relative_to(self, folder: Path) -> Self:
        """Return the entry with its relative paths resolved against the folder of the tools file."""
        del folder
        return self

    def policy(
        self,
        name: str,
        *,
        read_only: bool = False,
        idempotent: bool = False,
        repeatable: bool = False,
        approval: Approval = "never",
    ) -> Policy:
        """Return the policy of one tool, from what its source knows and from the entry. A read-only tool is idempotent."""
        read_only = read_only or _matches_any(self.read_only, name)
        return Policy(
            timeout=self.timeout,
            max_result_bytes=self.max_result_bytes,
            retries=self.retries,
            max_concurrent=self.max_concurrent,
            calls_per_minute=self.calls_per_minute,
            max_failures=self.max_failures,
            read_only=read_only,
            idempotent=read_only or idempotent or _matches_any(self.idempotent, name),
            repeatable=repeatable or _matches_any(self.repeatable, name),
            approval=self._approval(name) or approval,
        )

    def _approval(self, name: str) -> Approval | None:
        """Return what the entry says about a tool's approval; None where it says nothing."""
        for pattern, approval in self.approval.items():
            if fnmatchcase(name, pattern):
                return approval
        return None

    def check_tools(self, label: str, namespace: str, specs: Sequence[ToolSpec]) -> None:
        """Raise AutoToolError if two tools have the same name, or if a pattern of the entry matches no tool.

        `label` names the entry in the error, such as `[http.weather]`.
        """
        counts = Counter(spec.name.removeprefix(f"{namespace}.") for spec in specs)
        for name, times in counts.items():
            if times > 1:
                raise AutoToolError(f"{label} has two tools named {namespace}.{name}. Rename one or leave it out.")
        self.check_patterns(label, list(counts))

    def check_patterns(self, label: str, names: Sequence[str]) -> None:
        """Raise AutoToolError if a pattern of the entry matches none of the tools' names."""
        for key in ("read_only", "idempotent", "repeatable", "approval"):
            check_patterns(f"{label} {key}: no tool of it", getattr(self, key), names)


class SelectiveEntry(Entry):
    """An entry that chooses among the tools that something else offers."""

    include: list[str] = Field(default=["*"], min_length=1)
    """The tools to take, by the name that they have where they come from, or by pattern."""
    exclude: list[str] = []
    """The tools to leave out of these, by name or pattern."""

    def selects(self, name: str) -> bool:
        """Return whether the tool of this name is taken."""
        return _matches_any(self.include, name) and not _matches_any(self.exclude, name)

    def check_selection(self, label: str, noun: str, names: Sequence[str]) -> None:
        """Raise AutoToolError if a pattern of `include` or `exclude` matches nothing. `noun`: what has the names."""
        for key in ("include", "exclude"):
            check_patterns(f"{label} {key}: no {noun}", getattr(self, key), names)


def check_patterns(complaint: str, patterns: Iterable[str], names: Sequence[str]) -> None:
    """Raise AutoToolError, which begins with the complaint, for the first pattern that matches none of the names.

    `*` means all tools, even where there are none yet.
    """
    for pattern in patterns:
        if pattern != "*" and not any(fnmatchcase(name, pattern) for name in names):
            listed = ", ".join(names)[:MAX_LISTED_CHARACTERS]
            raise AutoToolError(f"{complaint} is named {pattern!r}. There are: {listed}.")


def listed_name(namespace: str, name: str, taken: Container[str]) -> str:
    """Return the name under which a tool is listed that cannot have its own: like it, valid, and not one of `taken`."""
    plain = re.sub(r"[^a-zA-Z0-9_.-]", "_", f"{namespace}.{name or '_'}")[:MAX_NAME_CHARACTERS]
    candidates = (f"{plain[: MAX_NAME_CHARACTERS - len(str(number)) - 1]}-{number}" for number in count(2))
    return plain if plain not in taken else next(candidate for candidate in candidates if candidate not in taken)


def tool_name(label: str, namespace: str, name: str) -> str:
    """Return the name with its namespace. Raises AutoToolError, which begins with `label`, for an invalid name."""
    full = f"{namespace}.{name}"
    if not NAME.fullmatch(full):
        raise AutoToolError(
            f"{label}: {full!r} is not a name for a tool: use letters, digits, '_', '.' and '-', at most 64 in all."
        )
    return full


def _matches_any(patterns: list[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
