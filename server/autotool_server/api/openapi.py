"""The OpenAPI document. Routes that read their bodies themselves say here what they take and answer."""

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])
SchemaMode = Literal["validation", "serialization"]

REF = "#/components/schemas/{model}"
STATUSES = (400, 401, 403, 404, 429, 500, 502, 503)
"""Errors of a route that wants the API key."""
BODY_STATUSES = (413, 415)
"""Errors of a body."""
DESCRIPTION = "Inference for tool-using language models that decide how long to think."
SECURITY_SCHEMES = {"bearer": {"type": "http", "scheme": "bearer", "description": "Where the server has an API key."}}


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    """The field at fault."""
    code: str | None


class ErrorAnswer(BaseModel):
    """An error in OpenAI's shape."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers."""

    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    error: type[BaseModel] = ErrorAnswer
    stream_media_type: str | None = None
    """Media type of the answer as a stream; None where there is none."""
    statuses: tuple[int, ...] = STATUSES
    """Errors, besides those of a body. A route that answers 401 wants the API key."""

    @property
    def types(self) -> list[tuple[type[BaseModel], SchemaMode]]:
        """The types of body, answer and error, each with the direction in which it goes."""
        given: tuple[tuple[type[BaseModel] | None, SchemaMode], ...]
        given = ((self.body, "validation"), (self.answer, "serialization"), (self.error, "serialization"))
        return [(kind, mode) for kind, mode in given if kind is not None]


ANY_OPERATION = Operation()


def documented(operation: Operation) -> Callable[[EndpointT], EndpointT]:
    """Return a decorator that says what an endpoint takes and answers."""

    def decorate(endpoint: EndpointT) -> EndpointT:
        vars(endpoint)["operation"] = operation
        return endpoint

    return decorate


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an app."""
    found = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    operations = list(_operations(app, found["paths"]))
    types = list(dict.fromkeys(pair for _, operation in operations for pair in operation.types))
    references, definitions = models_json_schema(types, ref_template=REF)
    for described, operation in operations:
        _describe(described, operation, references)
    found["components"] = {"schemas": definitions["$defs"], "securitySchemes": SECURITY_SCHEMES}
    return found


def _operations(app: FastAPI, paths: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Operation]]:
    """Yield what the document has of each route, and what the route takes and answers."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods:
                yield paths[route.path_format][method.lower()], getattr(route.endpoint, "operation", ANY_OPERATION)


def _describe(described: dict[str, Any], operation: Operation, references: Any) -> None:
    responses = described["responses"]
    # FastAPI's own error of parameters: this server answers 400 in its place.
    responses.pop("422", None)
    answer: dict[str, Any] = {}
    if operation.answer is not None:
        answer["application/json"] = {"schema": references[operation.answer, "serialization"]}
    if operation.stream_media_type is not None:
        answer[operation.stream_media_type.partition(";")[0]] = {
            "schema": {"description": "Events, if the body asks for a stream."}
        }
    if answer:
        responses["200"]["content"] = answer
    statuses = operation.statuses
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body, "validation"]}}
        described["requestBody"] = {"required": True, "content": content}
        statuses = (*statuses, *BODY_STATUSES)
    if 401 in statuses:
        described["security"] = [{"bearer": []}, {}]
    error = {"application/json": {"schema": references[operation.error, "serialization"]}}
    for status in sorted(statuses):
        responses[str(status)] = {"description": _phrase(status), "content": error}


def _phrase(status: int) -> str:
    """Return the name of a status; Anthropic's 529 is none of HTTP's."""
    return http.client.responses.get(status, "Overloaded")
