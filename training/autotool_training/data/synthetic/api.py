"""A tool that Seal-Tools describes: what it does in words, and arguments for it."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from autotool_training.data.sources.rows import MalformedError
from autotool_training.data.sources.tools import parameters, tools
from autotool_training.data.synthetic.extras import extras
from autotool_training.data.synthetic.kinds import Kind, kind, plural
from autotool_training.data.synthetic.paraphrases import Telling, telling
from autotool_training.data.synthetic.values import value

Arguments = Mapping[str, Any]
REQUIRED = 0.5
"""Share of the parameters that a wider tool has more which it requires; of the others a request tells some, as of all."""


class Api:
    """One description, its tool, and arguments of it. Raises MalformedError, or what its wrong shape does."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        if not row["api_name"] or not isinstance(row.get("field") or "", str):
            raise MalformedError("a description without a name, or a field that is no text")
        schema = {"properties": row["parameters"], "required": row["required"]}
        described = {"description": row["api_description"], "parameters": schema}
        (self.tool,) = tools([{"name": row["api_name"], **described}])
        self.name: str = self.tool["function"]["name"]
        self.field: str = row.get("field") or ""
        self.schema = parameters(self.tool)
        self.properties: Mapping[str, Mapping[str, Any]] = self.schema["properties"]
        self.needed: Sequence[str] = self.schema["required"]
        self.verb, self.rest = _imperative(row["api_description"], bool(row["parameters"]))
        self.telling: Telling | None = None
        self.more: frozenset[str] = frozenset()
        """Names of the parameters that it has more as a wider tool: alike in all calls of a request."""

    def kind(self, name: str) -> Kind:
        """What kind of parameter the one of this name is."""
        return kind(name, self.properties[name])

    def arguments(self, draw: random.Random, names: Iterable[str]) -> Arguments:
        """A value for each name that has a plausible one, or what is told in its place (`meant`)."""
        drawn = {name: self._told(name, draw) for name in names}
        return {name: one for name, one in drawn.items() if one is not None}

    def chosen(self, draw: random.Random) -> Arguments:
        """The required arguments and some others, as far as there are values."""
        extra = [name for name in self.properties if name not in self.needed]
        few = draw.sample(extra, min(len(extra), draw.choice((0, 0, 1, 1, 2) if self.needed else (1, 1, 2))))
        return self.arguments(draw, [*self.needed, *few])

    def listing(self, name: str) -> "Api":
        """The tool with a list, named in the plural, in place of a parameter."""
        listed = {"type": "array", "items": _bare(self.properties[name])}
        listed |= {"description": f"A list: {self.properties[name].get('description', '')}"}
        named = {one: plural(name) if one == name else one for one in self.properties}
        properties = {named[one]: listed if one == name else about for one, about in self.properties.items()}
        return self._with(properties, [named[one] for one in self.needed])

    def wider(self, draw: random.Random) -> "Api":
        """The tool with a parameter or two more, of those that most tools could have; a request tells some of them."""
        more = extras(self.properties, draw)
        required = [name for name in more if draw.random() < REQUIRED]
        other = self._with({**self.properties, **more}, [*self.needed, *required])
        other.more = frozenset(more)
        return other

    def retold(self, draw: random.Random) -> "Api | None":
        """The tool with a parameter, then required, that requests tell in other words than calls need; None where none fits."""
        found = telling(self.properties, draw)
        if found is None:
            return None
        other = self._with({**self.properties, found.name: found.about}, list(dict.fromkeys([*self.needed, found.name])))
        other.telling = found
        return other

    def meant(self, given: Arguments) -> Arguments:
        """The arguments of the call, of those as they are told."""
        if self.telling is None:
            return given
        return {name: self.telling.meant(one) if name == self.telling.name else one for name, one in given.items()}

    def askable(self, draw: random.Random) -> bool:
        """Whether every required argument has a plausible value."""
        return self.chosen(draw).keys() >= set(self.needed)

    def _with(self, properties: Mapping[str, Mapping[str, Any]], needed: Sequence[str]) -> "Api":
        other = copy(self)
        other.properties, other.needed = properties, needed
        other.schema = {**self.schema, "properties": properties, "required": needed}
        other.tool = {**self.tool, "function": {**self.tool["function"], "parameters": other.schema}}
        return other

    def _told(self, name: str, draw: random.Random) -> Any:
        if self.telling is not None and name == self.telling.name:
            return self.telling.told(draw)
        return value(name, self.properties[name], draw)


def _bare(about: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in about.items() if key != "description"}


def _imperative(description: str, given: bool) -> tuple[str, str]:
    """The verb of a description, and what it governs; `given`: without words on parameters, which the request has."""
    text = re.split(r"(?<=\w)\.(?:\s|$)|\s*\(|\n", description.strip())[0]
    text = re.sub(r"^(?:this \w+ |api to |allows? (?:\w+ )?to |enables? (?:\w+ )?to |used to )+", "", text, flags=re.I)
    if given:
        origin = r" (?:based on|with|using|according to|by) (?:the |a )?"
        text = re.sub(rf"{origin}(?:specified|given|provided|specific|its|their|\w+ parameters).*", "", text)
    verb, _, rest = text.partition(" ")
    verb = verb.lower()
    if not rest or verb in ("the", "a", "an", "this"):
        raise MalformedError("a description that tells no deed")
    return re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", re.sub(r"(?<=ch|sh|ss|zz)es$", "", verb))), rest
