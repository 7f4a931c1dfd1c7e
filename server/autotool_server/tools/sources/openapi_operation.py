"""Map an operation of an OpenAPI document, its parameters and its JSON body, to one object of arguments and a route."""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_server.tools.sources.http import PATH_PARAMETER, ParameterLocation, Route
from autotool_server.tools.sources.openapi_schema import Document, Schemas

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_DEFAULT_STYLE = {"path": "simple", "header": "simple", "query": "form"}
# OpenAPI ignores header parameters of the first three names; the others belong to the connection.
_RESERVED_HEADERS = {
    "accept",
    "content-type",
    "authorization",
    "host",
    "cookie",
    "content-length",
    "transfer-encoding",
    "connection",
}
# The arguments have the properties of a body's schema if it has no other keywords. Otherwise they have the whole `body`.
_MERGEABLE = {"type", "properties", "required", "title", "description", "additionalProperties"}
_BODY = "body"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    document: Document
    path: str
    method: str
    """The HTTP method in capitals."""
    item: Mapping[str, Any]
    """The path item of the document."""
    content: Mapping[str, Any]
    """The operation object of the document."""
    fault: str | None = None
    """The error of a path item that cannot be read; it stands for all its operations."""

    @property
    def id(self) -> str:
        """The operationId, else the method and the path."""
        return str(self.content.get("operationId") or f"{self.method.lower()}_{self.path.strip('/')}")

    @property
    def tool(self) -> str:
        """The id with the characters that a tool's name may have."""
        return re.sub(r"[^a-zA-Z0-9_.-]+", "_", self.id).strip("_") or "_"

    @property
    def label(self) -> str:
        """The operation's name in errors."""
        return f"{self.document.label} operation {self.id!r}"

    @property
    def description(self) -> str:
        """The summary and the description."""
        parts = (self.content.get("summary"), self.content.get("description"))
        return "\n".join(dict.fromkeys(str(part).strip() for part in parts if part)) or f"{self.method} {self.path}"

    @property
    def has_servers(self) -> bool:
        """Whether the operation names other servers than the document."""
        return bool(self.content.get("servers") or self.item.get("servers"))

    def build(self, set_headers: Set[str]) -> tuple[dict[str, Any], Route]:
        """Return the JSON schema of the arguments and the route. Raises AutoToolError if the operation cannot be a tool.

        Headers that the operator sets (`set_headers`, in lower case) are no arguments.
        """
        if self.fault is not None:
            raise AutoToolError(self.fault)
        try:
            arguments = _Arguments(self, Schemas(self.document))
            for parameter in self._parameters():
                if not _is_ignored(parameter, set_headers):
                    arguments.add_parameter(parameter)
            needs_body = arguments.add_body(self.document.follow(self.content.get("requestBody")))
        except (AttributeError, LookupError, RecursionError, TypeError) as error:
            raise AutoToolError(f"{self.label} is not valid OpenAPI.") from error
        for name in PATH_PARAMETER.findall(self.path):
            if name not in arguments.in_path:
                raise AutoToolError(f"{self.label}: {{{name}}} of its path is not among its parameters.")
        return arguments.schema(), Route(self.method, self.path, arguments.locations, needs_body=needs_body)

    def _parameters(self) -> list[Mapping[str, Any]]:
        """Return the parameters of the path and of the method. The method's override those of the path."""
        both = [*self.item.get("parameters", []), *self.content.get("parameters", [])]
        return list({(item["in"], item["name"]): item for item in map(self.document.follow, both)}.values())


def operations(document: Document) -> Iterator[Operation]:
    """Yield all operations except OPTIONS and TRACE, and one with a `fault` for a path that cannot be read."""
    for path, item in document.content.get("paths", {}).items():
        try:
            path_item = document.follow(item)
        except AutoToolError as error:
            yield Operation(document, path, "GET", {}, {}, str(error))
            continue
        if not isinstance(path_item, Mapping):
            yield Operation(document, path, "GET", {}, {}, f"{document.label}: the path {path} is not valid OpenAPI.")
            continue
        for method in _METHODS:
            if isinstance(path_item.get(method), Mapping):
                yield Operation(document, path, method.upper(), path_item, path_item[method])


class _Arguments:
    """Collects the arguments of an operation."""

    def __init__(self, operation: Operation, schemas: Schemas) -> None:
        self.locations: dict[str, ParameterLocation] = {}
        self._label = operation.label
        self._document = operation.document
        self._schemas = schemas
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []

    @property
    def in_path(self) -> set[str]:
        return {name for name, location in self.locations.items() if location.part == "path"}

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema, which allows no further arguments."""
        schema = {"type": "object", "properties": self._properties, "required": self._required, "additionalProperties": False}
        return schema | ({"$defs": self._schemas.definitions} if self._schemas.definitions else {})

    def add_parameter(self, parameter: Mapping[str, Any]) -> None:
        part, name = parameter["in"], parameter["name"]
        if part == "cookie" or not self._has_default_style(parameter):
            raise AutoToolError(
                f"{self._label}: its parameter {name!r} is not supported (a cookie, an object, a style other than the default, "
                "or content). Leave the operation out with exclude."
            )
        schema = self._schemas.convert(parameter["schema"])
        if "description" in parameter and isinstance(schema, dict):
            schema = {**schema, "description": schema.get("description", parameter["description"])}
        comma_separated = part == "query" and parameter.get("explode") is False
        location = ParameterLocation(part, comma_separated=comma_separated)
        self._add(name, schema, location, required=part == "path" or bool(parameter.get("required")))

    def add_body(self, body: Mapping[str, Any] | None) -> bool:
        """Add the properties of a JSON body, or the whole body as `body`. Return whether a body is always sent."""
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
            self._add(_BODY, self._schemas.convert(schema), ParameterLocation("whole body"), required=required)
        return required

    def _json_schema(self, body: Mapping[str, Any], *, required: bool) -> Any:
        """Return the schema of a JSON body; None for an optional body of another type."""
        for media, content in body["content"].items():
            if re.fullmatch(r"application/([\w.-]+\+)?json|\*/\*|application/\*", media.partition(";")[0].strip().lower()):
                return content.get("schema", {})
        if required:
            raise AutoToolError(f"{self._label} needs a body that is not JSON. Leave the operation out with exclude.")
        return None

    def _can_merge(self, schema: Any, *, required: bool) -> bool:
        """Return whether a body's properties can become arguments: no names clash, and its schema has no other keywords."""
        if not isinstance(schema, Mapping) or schema.get("type", "object") != "object" or "properties" not in schema:
            return False
        ignored = {"example", "examples", "xml", "externalDocs"}
        keywords = {key for key in schema if not key.startswith("x-") and key not in ignored}
        is_open = schema.get("additionalProperties", False) is not False
        clashes = self._properties.keys() & schema["properties"].keys()
        return keywords <= _MERGEABLE and not is_open and not clashes and (required or not schema.get("required"))

    def _merge(self, schema: Mapping[str, Any]) -> None:
        for name, inner in schema["properties"].items():
            self._add(name, inner, ParameterLocation("body"), required=name in schema.get("required", []))

    def _add(self, name: str, schema: Any, location: ParameterLocation, *, required: bool) -> None:
        if name in self._properties:
            raise AutoToolError(
                f"{self._label} has two arguments named {name!r}, one of them in its {location.part}. Leave the operation "
                "out with exclude."
            )
        self._properties[name] = schema
        self.locations[name] = location
        if required:
            self._required.append(name)

    def _has_default_style(self, parameter: Mapping[str, Any]) -> bool:
        """Return whether a parameter has the default style and a schema that is no object."""
        default = _DEFAULT_STYLE[parameter["in"]]
        schema = self._document.follow(parameter.get("schema"))
        return schema is not None and parameter.get("style", default) == default and schema.get("type") != "object"


def _is_ignored(parameter: Mapping[str, Any], set_headers: Set[str]) -> bool:
    """Return whether a parameter is no argument: an optional cookie, or a header that the model may not set."""
    if parameter["in"] == "header":
        return parameter["name"].lower() in _RESERVED_HEADERS | set_headers
    return parameter["in"] == "cookie" and not parameter.get("required")
