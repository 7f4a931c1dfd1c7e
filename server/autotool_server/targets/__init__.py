"""Targets of `auto`: the reasoning bias that holds one, found from a measured dial and from the server's own traffic."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.modes import split_alias
from autotool_core.target import Target
from autotool_server.settings import Settings
from autotool_server.targets.controller import Controller
from autotool_server.targets.dial import Dial, load_dial

MAX_REQUESTED = 16
"""The targets of each key's requests that are followed; the one that was not used for the longest time is dropped."""

NO_DIAL = "A target of regret needs a measured dial, since live traffic does not show which answers are right. Set --dial"


class Targets:
    """The controllers of one server: one for the server, for each alias and key that has a target, and for what requests ask.

    Raises AutoToolError, naming the setting, for targets that cannot be held with these settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.dial = load_dial(Path(settings.dial)) if settings.dial is not None else None
        """What was measured by bias; None without a dial."""
        self._bounds = _bounds(self.dial, settings.max_target_bias)
        self._lock = Lock()  # large requests are prepared in threads
        self._requested: dict[str | None, OrderedDict[Target, Controller]] = {}
        self.configured: dict[str, Controller] = {}
        """The controllers of the operator's targets, by what they are of: `server`, `alias:NAME` or `key:NAME`."""
        if settings.target is not None:
            self._configure("target", "server", Target.parse(settings.target))
        for name, text in settings.alias_targets.items():
            if name not in settings.model_aliases:
                raise AutoToolError(f"Setting alias_targets: {name} is none of the model_aliases. Name it there too.")
            self._configure("alias_targets", f"alias:{name}", Target.parse(text))

    def _configure(self, setting: str, scope: str, target: Target) -> None:
        if target.kind == "regret" and self.dial is None:
            raise AutoToolError(f"Setting {setting}: {NO_DIAL}.")
        self.configured[scope] = self._controller(target)

    def check(self, requested: Target | None) -> None:
        """Raise InvalidRequestError for a target of a request that cannot be held here."""
        if requested is not None and requested.kind == "regret" and self.dial is None:
            raise InvalidRequestError(f"{NO_DIAL} on the server, or ask for thinking-rate or tokens.", "target")

    def choose(
        self, *, requested: Target | None, key: str | None, of_key: Target | None, model: str | None
    ) -> Controller | None:
        """Return the controller of a request: its own target's, else the key's, the alias's, or the server's; None without one.

        `model`: the name by which the request asks for the model.
        """
        with self._lock:
            if requested is not None:
                return self._of_request(key, requested)
            if of_key is not None:
                return self._of_key(f"key:{key}", of_key)
        names = (model or "", split_alias(model or "")[0])
        scopes = (*(f"alias:{name}" for name in names), "server")
        return next((self.configured[scope] for scope in scopes if scope in self.configured), None)

    def keep_keys(self, targets: Mapping[str, Target | None]) -> None:
        """Forget what was followed for keys that are gone or have another target. `targets`: that of each key, by its name."""
        with self._lock:
            for scope, controller in [*self.configured.items()]:
                kind, _, name = scope.partition(":")
                if kind == "key" and targets.get(name) != controller.target:
                    del self.configured[scope]
            for name in self._requested.keys() - {None, *targets}:
                del self._requested[name]

    def _of_key(self, scope: str, target: Target) -> Controller:
        controller = self.configured.get(scope)
        if controller is None or controller.target != target:  # a keys file may change
            controller = self.configured[scope] = self._controller(target)
        return controller

    def _of_request(self, key: str | None, target: Target) -> Controller:
        controllers = self._requested.setdefault(key, OrderedDict())
        controller = controllers.pop(target, None) or self._controller(target)
        controllers[target] = controller
        if len(controllers) > MAX_REQUESTED:
            controllers.popitem(last=False)
        return controller

    def _controller(self, target: Target) -> Controller:
        return Controller(target, self.dial.bias_for(target) if self.dial is not None else 0.0, self._bounds)


def _bounds(dial: Dial | None, max_bias: float) -> tuple[float, float]:
    """Return the least and the largest bias: within the setting, and within what the dial has measured."""
    if dial is None:
        return -max_bias, max_bias
    first, last = dial.steps[0].bias, dial.steps[-1].bias
    if first >= max_bias or last <= -max_bias:
        raise AutoToolError(f"Setting dial: its biases, {first:g} to {last:g}, are beyond max_target_bias, {max_bias:g}.")
    return max(first, -max_bias), min(last, max_bias)
