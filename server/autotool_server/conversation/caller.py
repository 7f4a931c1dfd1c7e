"""Who asks, and what of this server they may use."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.target import Target

NOT_ALLOWED = "not_allowed_for_key"
"""The code of a refusal of what a key may not use."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What the holder of a key may use. None is everything, an empty collection nothing."""

    name: str | None = None
    """The name of the key in the keys file; None for who has none of them."""
    models: frozenset[str] | None = None
    modes: frozenset[Mode] | None = None
    tools: frozenset[str] | None = None
    """Names of server tools, and groups of them (`weather.*`)."""
    priority: int | None = None
    """The best priority of its requests, which is also theirs if they ask for none; lower is decoded earlier."""
    target: Target | None = None
    """What its answers in `auto` are to cost, where a request does not say."""

    def check_model(self, names: Sequence[str], field: str | None) -> None:
        """Raise InvalidRequestError for a model that may not be used by any of its names, the first of them its own."""
        if self.models is not None and self.models.isdisjoint(names):
            raise _refusal(f"This key may not use the model {names[0]}.", field)

    def check_mode(self, mode: Mode, field: str) -> None:
        """Raise InvalidRequestError for a mode that may not be asked for."""
        if not self.may_ask_for(mode):
            allowed = ", ".join(filter(self.may_ask_for, Mode))
            raise _refusal(f"This key may not ask for the mode {mode}. It may ask for: {allowed or 'none'}.", field)

    def may_ask_for(self, mode: Mode) -> bool:
        """Whether a mode may be asked for."""
        return self.modes is None or mode in self.modes

    def check_tool(self, name: str, field: str) -> None:
        """Raise InvalidRequestError for a server tool that may not be used."""
        if not self.may_use_tool(name):
            raise _refusal(f"This key may not use the server tool {name}.", field)

    def may_use_tool(self, name: str) -> bool:
        """Whether a server tool may be used: it is named, or one of its groups is."""
        if self.tools is None or name in self.tools:
            return True
        return any(allowed.endswith(".*") and name.startswith(allowed[:-1]) for allowed in self.tools)

    def priority_of(self, asked: int | None = None) -> int:
        """Return the priority of a request, which may ask for one: it gets none better than the caller's."""
        own = self.priority
        if asked is None or own is None:
            return asked or own or 0
        return max(own, asked)


def _refusal(message: str, field: str | None) -> InvalidRequestError:
    return InvalidRequestError(message, field, code=NOT_ALLOWED, status=403)


ANYBODY = Caller()
"""The holder of the server's own key, or anybody where it has none."""
