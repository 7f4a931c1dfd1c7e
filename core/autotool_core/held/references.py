"""The targets of `$ref`, inside the schema alone."""

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from autotool_core.held.errors import NotHeldError
from autotool_core.json_schema import DATA_KEYWORDS


class References:
    """Finds what the references of a schema lead to."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def target(self, reference: str) -> Any:
        """Return the schema that a reference leads to. Raises NotHeldError."""
        if not reference.startswith("#"):
            raise NotHeldError("$ref to another document")
        path = unquote(reference[1:])
        target = self._pointed(path) if path.startswith("/") or not path else self._anchored(path)
        if not isinstance(target, dict | bool):
            raise NotHeldError("$ref to a place that the schema lacks")
        return cast("Any", target)

    def _pointed(self, pointer: str) -> Any:
        node = self._root
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdecimal() and int(key) < len(cast("list[Any]", node)):
                node = cast("list[Any]", node)[int(key)]
            else:
                node = cast("dict[str, Any]", node).get(key) if isinstance(node, dict) else None
        return node

    def _anchored(self, name: str) -> Any:
        return next((schema for schema in _inner(self._root) if name in _anchors(schema)), None)


def _anchors(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    own = str(schema.get("$id", schema.get("id")))
    return (schema.get("$anchor"), schema.get("$dynamicAnchor"), own[1:] if own.startswith("#") else None)


def _inner(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for item in cast("list[Any]", node):
            yield from _inner(item)
    elif isinstance(node, dict):
        schema = cast("dict[str, Any]", node)
        yield schema
        for keyword, value in schema.items():
            if keyword not in DATA_KEYWORDS:
                yield from _inner(value)
