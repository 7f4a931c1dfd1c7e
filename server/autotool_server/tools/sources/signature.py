"""Read a function's signature and docstring into a tool's schema, description and validator of arguments."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NotRequired, Required, get_type_hints

from docstring_parser import DocstringStyle, parse
from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict  # pydantic needs this one on Python 3.11

from autotool_core.errors import AutoToolError

_UNSUPPORTED_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments",
    inspect.Parameter.VAR_KEYWORD: "takes arguments of any name",
    inspect.Parameter.POSITIONAL_ONLY: "can only be given by position",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """The description, the schema and the validator of a function's arguments."""

    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments."""
    adapter: TypeAdapter[dict[str, Any]]
    """Validates arguments and converts them to their annotated types. Arguments that are not given stay absent."""


@lru_cache(maxsize=1024)
def read_signature(function: Callable[..., Any]) -> Signature:
    """Read a function. Raises AutoToolError, which names the function and the parameter, if it cannot be a tool."""
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AutoToolError(f"{name} cannot be a tool: it is no plain or async function.")
    parameters = inspect.signature(function).parameters
    hints = _hints(function)
    for parameter in parameters.values():
        _check(name, parameter, hints)
    adapter = _adapter(name, parameters, hints)
    docstring = parse(inspect.getdoc(function) or "", style=DocstringStyle.GOOGLE)
    if not docstring.description:
        raise AutoToolError(f"{name} cannot be a tool: it needs a docstring, which tells the model what it does.")
    descriptions = {item.arg_name: item.description for item in docstring.params if item.description}
    return Signature(docstring.description, _schema(name, adapter, parameters, descriptions), adapter)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise AutoToolError(f"{function.__qualname__} cannot be a tool: its annotations name {error.name}, unknown.") from error


def _check(name: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    prefix = f"{name} cannot be a tool: its parameter {parameter.name}"
    if parameter.kind in _UNSUPPORTED_KINDS:
        raise AutoToolError(f"{prefix} {_UNSUPPORTED_KINDS[parameter.kind]}. Name each parameter.")
    if parameter.name not in hints:
        raise AutoToolError(f"{prefix} has no annotation. Say its type.")
    if isinstance(parameter.default, FieldInfo):
        raise AutoToolError(f"{prefix} has Field(...) as its default. Write Annotated[type, Field(...)] and a plain default.")


def _adapter(name: str, parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> TypeAdapter[dict[str, Any]]:
    """Return the adapter of a typed dictionary, whose keys may have any name. The defaults stay the function's."""
    fields = {
        key: Required[hints[key]] if parameter.default is inspect.Parameter.empty else NotRequired[hints[key]]
        for key, parameter in parameters.items()
    }
    arguments: Any = TypedDict("Arguments", fields)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues] - made at run time
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        return TypeAdapter(arguments)
    except (PydanticUserError, TypeError) as error:
        raise AutoToolError(f"{name} cannot be a tool: an annotation has no JSON schema ({_first_line(error)}).") from error


def _schema(
    name: str, adapter: TypeAdapter[Any], parameters: Mapping[str, inspect.Parameter], descriptions: Mapping[str, str]
) -> dict[str, Any]:
    try:
        schema = adapter.json_schema()
    except PydanticUserError as error:
        raise AutoToolError(f"{name} cannot be a tool: an annotation has no JSON schema ({_first_line(error)}).") from error
    schema.pop("title", None)
    for key, properties in schema["properties"].items():
        properties.pop("title", None)
        if key in descriptions:
            properties.setdefault("description", descriptions[key])
        if parameters[key].default is not inspect.Parameter.empty:
            properties.setdefault("default", to_jsonable_python(parameters[key].default, serialize_unknown=True))
    return schema


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
