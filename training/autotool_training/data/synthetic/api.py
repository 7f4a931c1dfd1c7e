"""A tool that Seal-Tools describes, with words for its action and values for its parameters."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from autotool_training.data.sources.rows import MalformedError
from autotool_training.data.sources.tools import parameters, tools
from autotool_training.data.synthetic.extras import draw_extra_params
from autotool_training.data.synthetic.kinds import ParamKind, param_kind, plural
from autotool_training.data.synthetic.paraphrases import Paraphrase, draw_paraphrase
from autotool_training.data.synthetic.values import draw_value

Arguments = Mapping[str, Any]
REQUIRED_SHARE = 0.5
"""The share of the additional parameters that are required. A request gives some of the others."""


class Api:
    """A described tool that draws its arguments. Raises MalformedError, or the error of a wrong shape."""

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
        self.required: Sequence[str] = self.schema["required"]
        self.verb, self.object_phrase = _imperative(row["api_description"], bool(row["parameters"]))
        self.paraphrase: Paraphrase | None = None
        self.extra_names: frozenset[str] = frozenset()
        """The names of the additional parameters, which have the same values in all calls of a request."""

    def param_kind(self, name: str) -> ParamKind:
        """Return the kind of the parameter `name`."""
        return param_kind(name, self.properties[name])

    def draw_values(self, rng: random.Random, names: Iterable[str]) -> Arguments:
        """Draw a plausible value, or a surface form, for each name that has one."""
        drawn = {name: self._draw_value(name, rng) for name in names}
        return {name: value for name, value in drawn.items() if value is not None}

    def draw_arguments(self, rng: random.Random) -> Arguments:
        """Draw the required arguments and some optional ones, as far as there are values."""
        optional = [name for name in self.properties if name not in self.required]
        chosen = rng.sample(optional, min(len(optional), rng.choice((0, 0, 1, 1, 2) if self.required else (1, 1, 2))))
        return self.draw_values(rng, [*self.required, *chosen])

    def with_list_param(self, name: str) -> "Api":
        """Return the tool with a list, named in the plural, in place of a parameter."""
        listed = {"type": "array", "items": _without_description(self.properties[name])}
        listed |= {"description": f"A list: {self.properties[name].get('description', '')}"}
        new_names = {other_name: plural(name) if other_name == name else other_name for other_name in self.properties}
        properties = {
            new_names[other_name]: listed if other_name == name else schema for other_name, schema in self.properties.items()
        }
        return self._with_parameters(properties, [new_names[other_name] for other_name in self.required])

    def with_extra_params(self, rng: random.Random) -> "Api":
        """Return the tool with one or two additional parameters that most tools could have."""
        extra_params = draw_extra_params(self.properties, rng)
        required = [name for name in extra_params if rng.random() < REQUIRED_SHARE]
        other = self._with_parameters({**self.properties, **extra_params}, [*self.required, *required])
        other.extra_names = frozenset(extra_params)
        return other

    def with_paraphrase(self, rng: random.Random) -> "Api | None":
        """Return the tool with a required parameter that requests paraphrase, or None if no paraphrase fits."""
        paraphrase = draw_paraphrase(self.properties, rng)
        if paraphrase is None:
            return None
        other = self._with_parameters(
            {**self.properties, paraphrase.name: paraphrase.schema}, list(dict.fromkeys([*self.required, paraphrase.name]))
        )
        other.paraphrase = paraphrase
        return other

    def canonical_values(self, arguments: Arguments) -> Arguments:
        """Return the arguments of the call for arguments in their surface forms."""
        if self.paraphrase is None:
            return arguments
        return {
            name: self.paraphrase.canonical_value(value) if name == self.paraphrase.name else value
            for name, value in arguments.items()
        }

    def has_values(self, rng: random.Random) -> bool:
        """Return whether every required argument has a plausible value."""
        return self.draw_arguments(rng).keys() >= set(self.required)

    def _with_parameters(self, properties: Mapping[str, Mapping[str, Any]], required: Sequence[str]) -> "Api":
        other = copy(self)
        other.properties, other.required = properties, required
        other.schema = {**self.schema, "properties": properties, "required": required}
        other.tool = {**self.tool, "function": {**self.tool["function"], "parameters": other.schema}}
        return other

    def _draw_value(self, name: str, rng: random.Random) -> Any:
        if self.paraphrase is not None and name == self.paraphrase.name:
            return self.paraphrase.surface_form(rng)
        return draw_value(name, self.properties[name], rng)


def _without_description(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in schema.items() if key != "description"}


def _imperative(description: str, has_parameters: bool) -> tuple[str, str]:
    """Return the verb of a description and its object, without words on parameters if the tool has any."""
    text = re.split(r"(?<=\w)\.(?:\s|$)|\s*\(|\n", description.strip())[0]
    text = re.sub(r"^(?:this \w+ |api to |allows? (?:\w+ )?to |enables? (?:\w+ )?to |used to )+", "", text, flags=re.I)
    if has_parameters:
        basis = r" (?:based on|with|using|according to|by) (?:the |a )?"
        text = re.sub(rf"{basis}(?:specified|given|provided|specific|its|their|\w+ parameters).*", "", text)
    verb, _, rest = text.partition(" ")
    verb = verb.lower()
    if not rest or verb in ("the", "a", "an", "this"):
        raise MalformedError("a description that tells no deed")
    return re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", re.sub(r"(?<=ch|sh|ss|zz)es$", "", verb))), rest
