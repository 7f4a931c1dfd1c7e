"""One operation of an OpenAPI document: its parameters and its JSON body as one object of arguments, and the way back."""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_server.tools.sources.http import IN_PATH, Place, Route
from autotool_server.tools.sources.openapi_schema import Document, Schemas

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_USUAL_STYLE = {"path": "simple", "header": "simple", "query": "form"}
# OpenAPI leaves the first three to other parts of the document; the others belong to the connection.
_NO_PARAMETERS = {
    "accept",
    "content-type",
    "authorization",
    "host",
    "cookie",
    "content-length",
    "transfer-encoding",
    "connection",
}
# A body that says more than this of itself as a whole is kept whole, as the argument `body`.
_MERGEABLE = {"type", "properties", "required", "title", "description", "additionalProperties"}
_BODY = "body"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    document: Document
    path: str
    method: str
    """In capitals."""
    item: Mapping[str, Any]
    """What the document says of the path."""
    content: Mapping[str, Any]
    """What it says of the method."""

    @property
    def id(self) -> str:
        """The operationId, or one made of the method and the path."""
        return str(self.content.get("operationId") or f"{self.method.lower()}_{self.path.strip('/')}")

    @property
    def tool(self) -> str:
        """The id, made to fit a tool's name."""
        return re.sub(r"[^a-zA-Z0-9_.-]+", "_", self.id).strip("_") or "_"

    @property
    def where(self) -> str:
        """What errors call it."""
        return f"{self.document.where} operation {self.id!r}"

    @property
    def description(self) -> str:
        """Its summary and its description."""
        parts = (self.content.get("summary"), self.content.get("description"))
        return "\n".join(dict.fromkeys(str(part).strip() for part in parts if part)) or f"{self.method} {self.path}"

    @property
    def has_servers(self) -> bool:
        """Whether it goes elsewhere than the document's first server."""
        return bool(self.content.get("servers") or self.item.get("servers"))

    def build(self, set_headers: Set[str]) -> tuple[dict[str, Any], Route]:
        """The JSON schema of its arguments, and their way into a request. Raises AutoToolError where it cannot be a tool.

        Headers that the operator sets (`set_headers`, in lower case) are no arguments.
        """
        try:
            arguments = _Arguments(self, Schemas(self.document))
            for parameter in self._parameters():
                if not _is_ignored(parameter, set_headers):
                    arguments.add_parameter(parameter)
            needs_body = arguments.add_body(self.document.follow(self.content.get("requestBody")))
        except (AttributeError, LookupError, TypeError) as error:
            raise AutoToolError(f"{self.where} is not written as OpenAPI has it.") from error
        for name in IN_PATH.findall(self.path):
            if name not in arguments.in_path:
                raise AutoToolError(f"{self.where}: {{{name}}} of its path is not among its parameters.")
        return arguments.schema(), Route(self.method, self.path, arguments.places, needs_body=needs_body)

    def _parameters(self) -> list[Mapping[str, Any]]:
        """Those of the path and those of the method, which go first."""
        both = [*self.item.get("parameters", []), *self.content.get("parameters", [])]
        return list({(one["in"], one["name"]): one for one in map(self.document.follow, both)}.values())


def operations(document: Document) -> Iterator[Operation]:
    """All operations that are requests for something; OPTIONS and TRACE are not."""
    for path, item in document.content.get("paths", {}).items():
        found = document.follow(item)
        if not isinstance(found, Mapping):
            raise AutoToolError(f"{document.where}: the path {path} is not written as OpenAPI has it.")
        for method in _METHODS:
            if isinstance(found.get(method), Mapping):
                yield Operation(document, path, method.upper(), found, found[method])


class _Arguments:
    """The arguments of an operation, gathered."""

    def __init__(self, operation: Operation, schemas: Schemas) -> None:
        self.places: dict[str, Place] = {}
        self._where = operation.where
        self._document = operation.document
        self._schemas = schemas
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []

    @property
    def in_path(self) -> set[str]:
        return {name for name, place in self.places.items() if place.where == "path"}

    def schema(self) -> dict[str, Any]:
        """The JSON schema, closed: there is no place for an argument that is not named."""
        whole = {"type": "object", "properties": self._properties, "required": self._required, "additionalProperties": False}
        return whole | ({"$defs": self._schemas.definitions} if self._schemas.definitions else {})

    def add_parameter(self, parameter: Mapping[str, Any]) -> None:
        where, name = parameter["in"], parameter["name"]
        if where == "cookie" or not self._is_plain(parameter):
            raise AutoToolError(
                f"{self._where}: its parameter {name!r} is of a kind that is not supported (a cookie, an object, or a style "
                "or content of its own). Leave the operation out with include."
            )
        schema = self._schemas.convert(parameter["schema"])
        if "description" in parameter and isinstance(schema, dict):
            schema = {**schema, "description": schema.get("description", parameter["description"])}
        joined = where == "query" and parameter.get("explode") is False
        self._add(name, schema, Place(where, joined=joined), required=where == "path" or bool(parameter.get("required")))

    def add_body(self, body: Mapping[str, Any] | None) -> bool:
        """Add the properties of a JSON body, or the whole of it as `body`. Returns whether one is always sent."""
        if body is None:
            return False
        required = bool(body.get("required"))
        schema = self._json_schema(body, required=required)
        if schema is None:
            return False
        whole = self._document.follow(schema)
        if self._can_merge(whole, required=required):
            self._merge(self._schemas.convert(whole))
        else:
            self._add(_BODY, self._schemas.convert(schema), Place("whole body"), required=required)
        return required

    def _json_schema(self, body: Mapping[str, Any], *, required: bool) -> Any:
        """The schema of the body as JSON; None where it is another kind of body and may be left out."""
        for media, content in body["content"].items():
            if re.fullmatch(r"application/([\w.-]+\+)?json|\*/\*|application/\*", media.partition(";")[0].strip().lower()):
                return content.get("schema", {})
        if required:
            raise AutoToolError(f"{self._where} needs a body that is not JSON. Leave the operation out with include.")
        return None

    def _can_merge(self, schema: Any, *, required: bool) -> bool:
        """Whether a body's properties can stand beside the parameters: no clash of names, and nothing said but properties."""
        if not isinstance(schema, Mapping) or schema.get("type", "object") != "object" or "properties" not in schema:
            return False
        said = {key for key in schema if not key.startswith("x-") and key not in {"example", "examples", "xml", "externalDocs"}}
        is_open = schema.get("additionalProperties", False) is not False
        clashes = self._properties.keys() & schema["properties"].keys()
        return said <= _MERGEABLE and not is_open and not clashes and (required or not schema.get("required"))

    def _merge(self, schema: Mapping[str, Any]) -> None:
        for name, inner in schema["properties"].items():
            self._add(name, inner, Place("body"), required=name in schema.get("required", []))

    def _add(self, name: str, schema: Any, place: Place, *, required: bool) -> None:
        if name in self._properties:
            raise AutoToolError(
                f"{self._where} has two arguments named {name!r}, one of them in its {place.where}. Leave it out with include."
            )
        self._properties[name] = schema
        self.places[name] = place
        if required:
            self._required.append(name)

    def _is_plain(self, parameter: Mapping[str, Any]) -> bool:
        """Whether it is written into the request in the usual way."""
        usual = _USUAL_STYLE[parameter["in"]]
        schema = self._document.follow(parameter.get("schema"))
        return schema is not None and parameter.get("style", usual) == usual and schema.get("type") != "object"


def _is_ignored(parameter: Mapping[str, Any], set_headers: Set[str]) -> bool:
    """Cookies that may be left out, and headers that are not the model's to set."""
    if parameter["in"] == "header":
        return parameter["name"].lower() in _NO_PARAMETERS | set_headers
    return parameter["in"] == "cookie" and not parameter.get("required")
