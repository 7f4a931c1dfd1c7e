"""Grammars of keyed arguments whose form JSON's grammars do not have."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotool_core.tool_formats.base import Tag

_ROOT_KEYWORDS = (
    *("anyOf", "oneOf", "allOf", "$ref", "$dynamicRef", "enum", "const"),
    *("patternProperties", "propertyNames", "minProperties", "maxProperties"),
)
"""Keywords of an object's schema of which `members` knows nothing."""


def text_tag(text: str) -> Tag:
    """Return the grammar of one text."""
    return {"type": "const_string", "value": text}


def sequence(*tags: Tag) -> Tag:
    """Return the grammar of some texts, one behind the other."""
    return {"type": "sequence", "elements": [*tags]}


def optional(tag: Tag) -> Tag:
    """Return the grammar of a text that may be missing."""
    return {"type": "optional", "content": tag}


def any_of(tags: Sequence[Tag]) -> Tag:
    """Return the grammar of one of some texts."""
    return {"type": "or", "elements": [*tags]}


def repeated(tag: Tag, separator: str, least: int = 0, most: int = -1) -> Tag:
    """Return the grammar of `least` to `most` texts with a separator between them; -1 for any number."""
    more = {"type": "repeat", "min": max(least - 1, 0), "max": max(most - 1, -1)}
    several = sequence(tag, {**more, "content": sequence(text_tag(separator), tag)})
    return several if least else optional(several)


def unknown_keyword(schema: Mapping[str, Any]) -> str | None:
    """Return the first keyword of an object's schema that `members` does not enforce, or None."""
    return next((keyword for keyword in _ROOT_KEYWORDS if keyword in schema), None)


def members(schema: Mapping[str, Any], separator: str, member: Callable[[str, Any], Tag], other: Callable[[Any], Tag]) -> Tag:
    """Return the grammar of an object's members in the order of its schema.

    `member` returns that of a member of this key and schema, `other` that of one of any key. Where no member is required, they
    stand in any order, and one may stand twice: a parser takes the first.
    """
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = [name for name in properties if name in (schema.get("required") or ())]
    tags = {name: member(name, inner) for name, inner in properties.items()}
    rest = schema.get("additionalProperties", "properties" not in schema)
    extra = [] if rest is False else [other(rest)]
    if not required:
        return _free_members([*tags.values(), *extra], separator, -1 if extra else len(tags))
    gap, position = text_tag(separator), [*tags].index(required[0])
    before = [optional(sequence(tag, gap)) for tag in [*tags.values()][:position]]
    behind = [(name, sequence(gap, tags[name])) for name in [*tags][position + 1 :]]
    more: list[Tag] = [{"type": "star", "content": sequence(gap, tag)} for tag in extra]
    behind_tags = [tag if name in required else optional(tag) for name, tag in behind]
    return sequence(*before, tags[required[0]], *behind_tags, *more)


def _free_members(tags: Sequence[Tag], separator: str, most: int) -> Tag:
    return repeated(any_of(tags), separator, most=most) if tags else text_tag("")
