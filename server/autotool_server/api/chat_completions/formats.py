"""The form of the answer in the body of `/v1/chat/completions`: OpenAI's `response_format` and vLLM's structured outputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from autotool_core.errors import InvalidRequestError
from autotool_server.api.fields import Body, Unsupported

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}

JsonSchema = dict[str, Any] | bool | str
"""A JSON schema, or its JSON text."""
Regex = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Grammar = Annotated[str, StringConstraints(min_length=1, max_length=65536)]
Choices = Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=4096)]


class JSONSchema(Body):
    """A named JSON schema."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class TagStructure(Body):
    """A tag of vLLM's older structural tags: `begin`, JSON of a schema, `end`."""

    begin: str
    schema_: dict[str, Any] | bool = Field(default_factory=dict, alias="schema")
    end: str


class StructuralTag(Body):
    """A structural tag of xgrammar, or one of vLLM's older form.

    https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html
    """

    type: Literal["structural_tag"] = "structural_tag"
    format: dict[str, Any] | None = None
    structures: list[TagStructure] | None = None
    triggers: list[str] | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> "StructuralTag":
        if (self.format is None) == (self.structures is None) or (self.structures is None) != (self.triggers is None):
            raise ValueError("a structural tag has a format, or structures and triggers")
        return self

    def as_format(self) -> dict[str, Any]:
        """Return the tag's format; of an older tag the one with its meaning."""
        if self.format is not None:
            return self.format
        tags = [
            {"type": "tag", "begin": tag.begin, "content": {"type": "json_schema", "json_schema": tag.schema_}, "end": tag.end}
            for tag in self.structures or ()
        ]
        return {"type": "triggered_tags", "triggers": self.triggers or [], "tags": tags}


class TextFormat(Body):
    """Free text."""

    type: Literal["text"]


class JSONObjectFormat(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class JSONSchemaFormat(Body):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JSONSchema


class StructuralTagFormat(StructuralTag):
    """vLLM's structural tag."""

    type: Literal["structural_tag"]  # pyright: ignore[reportGeneralTypeIssues] without the default


ResponseFormat = Annotated[TextFormat | JSONObjectFormat | JSONSchemaFormat | StructuralTagFormat, Field(discriminator="type")]


class StructuredOutputs(Body):
    """vLLM's structured outputs: one of these forms of the content."""

    json_: JsonSchema | None = Field(default=None, alias="json")
    regex: Regex | None = None
    choice: Choices | None = None
    grammar: Grammar | None = None
    """A grammar in EBNF, as xgrammar reads it."""
    json_object: bool | None = None
    structural_tag: StructuralTag | str | None = None
    disable_any_whitespace: Literal[False] = False
    disable_additional_properties: Literal[False] = False
    whitespace_pattern: Unsupported = None

    @model_validator(mode="after")
    def _has_one_form(self) -> "StructuredOutputs":
        if len(self.forms) != 1:
            raise ValueError("exactly one of json, regex, choice, grammar, json_object and structural_tag must be given")
        return self

    @property
    def forms(self) -> dict[str, Any]:
        """The forms that are given, by name."""
        forms = {"json": self.json_, "regex": self.regex, "choice": self.choice, "grammar": self.grammar}
        forms |= {"json_object": self.json_object or None, "structural_tag": self.structural_tag}
        return {name: form for name, form in forms.items() if form is not None}


@dataclass(frozen=True, slots=True)
class ContentForm:
    """The form of the answer's content: a JSON schema, or a format of xgrammar's structural tags."""

    field: str
    """The path of the form in the body."""
    schema: Mapping[str, Any] | bool | None = None
    format: Mapping[str, Any] | None = None
    schema_field: str | None = None
    """The path of the schema in the body, if it is not `field`."""


def response_form(response_format: Any) -> ContentForm | None:
    """Return the form that a `response_format` asks for; None for free text."""
    field = "response_format"
    match response_format:
        case JSONObjectFormat():
            return ContentForm(field, ANY_OBJECT)
        case JSONSchemaFormat():
            return ContentForm(field, response_format.json_schema.schema_, schema_field=f"{field}.json_schema.schema")
        case StructuralTagFormat():
            return ContentForm(field, format=response_format.as_format())
        case _:
            return None


def structured_form(name: str, value: Any, field: str) -> ContentForm:
    """Return one of the structured outputs by its name. Raises InvalidRequestError for text that is no JSON."""
    match name:
        case "json":
            return ContentForm(field, _json_value(value, field))
        case "json_object":
            return ContentForm(field, ANY_OBJECT)
        case "regex":
            return ContentForm(field, format={"type": "regex", "pattern": value})
        case "choice":
            texts = [{"type": "const_string", "value": text} for text in value]
            return ContentForm(field, format={"type": "or", "elements": texts})
        case "grammar":
            return ContentForm(field, format={"type": "grammar", "grammar": value})
        case _:
            return ContentForm(field, format=_structural_tag(value, field).as_format())


def _structural_tag(value: StructuralTag | str, field: str) -> StructuralTag:
    if isinstance(value, StructuralTag):
        return value
    try:
        return StructuralTag.model_validate(_json_value(value, field))
    except ValidationError:
        raise InvalidRequestError(f"{field} is not a structural tag: format, or structures and triggers.", field) from None


def _json_value(value: Any, field: str) -> Any:
    """Return the object or the truth value that the client sent as such or as JSON text."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict | bool):
        raise InvalidRequestError(f"{field} must be a JSON object, or the text of one.", field)
    return parsed
