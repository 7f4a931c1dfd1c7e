"""The built-in tools as sources: one for each name in `--builtin-tools`, and for each table `[builtin.NAME]`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import Policy, Tool
from autotool_server.tools.builtin import BUILTIN_TOOLS
from autotool_server.tools.entry import Entry
from autotool_server.tools.secrets import Secrets


class BuiltinSource:
    """The source of one built-in tool. Raises AutoToolError if there is none of this name, or if it cannot be used here."""

    entry_class = Entry

    def __init__(self, name: str, entry: Entry, secrets: Secrets) -> None:
        del secrets
        if name not in BUILTIN_TOOLS:
            raise AutoToolError(f"There is no built-in tool {name}. Those there are: {', '.join(BUILTIN_TOOLS)}.")
        entry.check_patterns(f"[builtin.{name}]", [name])
        self.name = name
        self.tools: Sequence[Tool] = (BUILTIN_TOOLS[name](partial(_policy, name, entry)),)

    async def start(self) -> None:
        """Do nothing: built-in tools need no start."""

    async def stop(self) -> None:
        """Do nothing: built-in tools hold no resources."""

    def accept(self, name: str) -> None:
        """Do nothing: built-in tools are never disabled."""


def _policy(name: str, entry: Entry, own: Policy) -> Policy:
    """Return the tool's own policy, with what its table says."""
    kinds = {kind: getattr(own, kind) for kind in ("read_only", "idempotent", "repeatable", "approval")}
    policy = entry.policy(name, **kinds)
    limits = ("timeout", "max_result_bytes", "retries", "max_concurrent", "calls_per_minute", "max_failures")
    return replace(policy, **{limit: getattr(own, limit) for limit in limits if limit not in entry.model_fields_set})
