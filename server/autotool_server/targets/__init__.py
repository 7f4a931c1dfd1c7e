"""Targets of `auto`: the reasoning bias that holds one, found from a measured dial and from the server's own traffic."""

from collections import OrderedDict
from pathlib import Path

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.target import Target
from autotool_server.settings import Settings
from autotool_server.targets.controller import Controller, Lengths
from autotool_server.targets.dial import Dial, load_dial

MAX_REQUESTED = 256
"""The controllers that are kept of targets that requests name; the one that was not used for the longest time is dropped."""

NO_DIAL = "A target of regret needs a measured dial, since live traffic does not show which answers are right. Set --dial"


class Targets:
    """The controllers of one server: one for the server, for each alias and key that has a target, and for what requests ask.

    Raises AutoToolError, naming the setting, for targets that cannot be held with these settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._dial = load_dial(Path(settings.dial)) if settings.dial is not None else None
        self._bounds = _bounds(self._dial, settings.max_target_bias)
        self._server = Target.parse(settings.target) if settings.target is not None else None
        self._aliases = {name: Target.parse(text) for name, text in settings.alias_targets.items()}
        self.configured: dict[str, Controller] = {}
        """The controllers of the operator's targets, by what they are of: `server`, `alias:NAME` or `key:NAME`."""
        self._requested = OrderedDict[tuple[str | None, Target], Controller]()
        for name, target in (("target", self._server), *(("alias_targets", target) for target in self._aliases.values())):
            if target is not None and target.kind == "regret" and self._dial is None:
                raise AutoToolError(f"Setting {name}: {NO_DIAL}.")
        if unknown := self._aliases.keys() - set(settings.model_aliases):
            raise AutoToolError(f"Setting alias_targets: {min(unknown)} is none of the model_aliases. Name it there too.")

    def choose(
        self, *, requested: Target | None, key: str | None, of_key: Target | None, model: str | None
    ) -> Controller | None:
        """Return the controller of a request: its own target's, else the key's, the alias's, or the server's; None without one.

        `model`: the name by which the request asks for the model. Raises InvalidRequestError for a regret without a dial.
        """
        if requested is not None:
            return self._of_request(key, requested)
        if of_key is not None:
            return self._of(f"key:{key}", of_key)
        if model in self._aliases:
            return self._of(f"alias:{model}", self._aliases[model])
        return self._of("server", self._server) if self._server is not None else None

    def _of(self, scope: str, target: Target) -> Controller:
        controller = self.configured.get(scope)
        if controller is None or controller.target != target:  # a keys file may change
            controller = self.configured[scope] = self._controller(target)
        return controller

    def _of_request(self, key: str | None, target: Target) -> Controller:
        if target.kind == "regret" and self._dial is None:
            raise InvalidRequestError(f"{NO_DIAL} on the server, or ask for thinking-rate or tokens.", "target")
        name = (key, target)
        controller = self._requested.pop(name, None) or self._controller(target)
        self._requested[name] = controller
        if len(self._requested) > MAX_REQUESTED:
            self._requested.popitem(last=False)
        return controller

    def _controller(self, target: Target) -> Controller:
        bias = self._dial.bias_for(target) if self._dial is not None else 0.0
        return Controller(target, bias, self._bounds, Lengths())


def _bounds(dial: Dial | None, max_bias: float) -> tuple[float, float]:
    """Return the least and the largest bias: within the setting, and within what the dial has measured."""
    if dial is None:
        return -max_bias, max_bias
    return max(dial.steps[0].bias, -max_bias), min(dial.steps[-1].bias, max_bias)
