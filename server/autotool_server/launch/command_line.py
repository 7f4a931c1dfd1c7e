"""`autotool serve`: its options are the fields of Settings."""

import asyncio
import importlib.util
import itertools
import json
import math
import socket
from collections.abc import Callable, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from autotool_core.errors import AutoToolError, HungThreadError
from autotool_core.imports import without_collections
from autotool_server.launch import checks, logs
from autotool_server.launch.connections import raise_descriptor_limit
from autotool_server.launch.listener import bind
from autotool_server.launch.phases import phase
from autotool_server.settings import Settings, load_settings

if TYPE_CHECKING:
    from autotool_server.launch.lifecycle import WhenReady
    from autotool_server.tools.registry import Registry

REPEATED = "engine_arg"


def _option(name: str, field: FieldInfo) -> click.Option:
    repeated = name == REPEATED
    is_shown = field.default_factory is None and field.default not in (None, (), "")
    default = f"  [default: {_shown(field.default)}]" if is_shown else ""
    values: dict[str, Any] = {"metavar": "NAME=VALUE"} if repeated else _values(field.annotation)
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        help=" ".join((field.description or "").split()) + default,
        multiple=repeated,
        **values,
    )


def _shown(value: object) -> object:
    """Return a default as it is written on the command line."""
    return str(value).lower() if isinstance(value, bool) else getattr(value, "value", value)


def _values(annotation: object) -> dict[str, Any]:
    """Return what click is told of an option's values: choices, or how they are named in the help. Settings check them."""
    parts = _parts(annotation)
    if parts == [bool]:
        # Alone it is true; a value may follow.
        return {"type": click.BOOL, "metavar": "[true|false]", "is_flag": False, "flag_value": "true"}
    choices = [_choices(part) for part in parts]
    if all(choices):
        return {"type": click.Choice(list(itertools.chain(*choices)))}
    return {"metavar": "|".join(itertools.chain(*(found or [_name(part)] for part, found in zip(parts, choices, strict=True))))}


def _parts(annotation: object) -> list[object]:
    """Return the types of a union, or the type itself, without None and without constraints."""
    union = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return [get_args(part)[0] if get_origin(part) is Annotated else part for part in union if part is not NoneType]


def _choices(part: object) -> list[str]:
    """Return the values of a Literal or an Enum; of another type, none."""
    if isinstance(part, type) and issubclass(part, Enum):
        return [member.value for member in part]
    return [*get_args(part)] if get_origin(part) is Literal else []


def _name(part: object) -> str:
    return {int: "INTEGER", float: "NUMBER"}.get(part, "TEXT") if isinstance(part, type) else "TEXT"


def _given(options: dict[str, Any], source: str | None) -> dict[str, Any]:
    """Return the options that were given, `source` as --model. The others may still come from the environment."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if source is not None and given.setdefault("model", source) != source:
        raise AutoToolError("MODEL and --model name two models. Give one of them.")
    if REPEATED in given:
        given[REPEATED] = dict(_name_and_value(argument) for argument in given[REPEATED])
    return given


def _name_and_value(argument: str) -> tuple[str, str | float | bool]:
    name, equals, value = argument.partition("=")
    if not (name and equals):
        raise AutoToolError("Setting engine_arg (--engine-arg): give name=value, such as tensor_parallel_size=4.")
    return name.replace("-", "_"), _scalar(value)


def _scalar(value: str) -> str | float | bool:
    """Return a number or a boolean if the text is one in JSON, else the text."""
    try:
        parsed = json.loads(value.lower())
    except ValueError:
        return value
    return parsed if isinstance(parsed, int | float) and math.isfinite(parsed) else value


def _serve(*, demo: bool, source: str | None, **options: Any) -> None:
    settings = load_settings(**_given(options, source))
    registry = checks.check(settings)
    if demo and settings.keys is not None and settings.api_key is None:
        raise AutoToolError("--demo sends requests of its own. Set an API key (--api-key) beside the keys file for it.")
    listener = bind(settings.host, settings.port)
    logs.configure(settings)
    raise_descriptor_limit()
    with without_collections():  # of what a start makes, which stays; the server collects garbage once it is ready
        _run(settings, registry, listener, demo=demo)


def _run(settings: Settings, registry: "Registry", listener: socket.socket, *, demo: bool) -> None:
    # Imported now that nothing else can be wrong: torch and the web framework take seconds.
    with phase("Importing the server", "Imported the server"):
        from autotool_server.launch import lifecycle, stop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            if not runner.run(lifecycle.serve(settings, registry, listener, _when_ready(demo=demo))):
                stop.exit_now()
        except HungThreadError as error:
            click.echo(f"autotool: {error}", err=True)
            stop.exit_now(1)


def _when_ready(*, demo: bool) -> "WhenReady":
    if demo:
        from autotool_server.launch.demo import run_demo  # noqa: PLC0415

        return run_demo
    from autotool_server.launch.ready import announce  # noqa: PLC0415

    return announce


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop if it is installed; it does not exist for every system."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 not on every system

    return uvloop.new_event_loop


command = click.Command(
    "serve",
    # Its own, since click keeps the help option of the first context that the command is used in.
    context_settings={"help_option_names": ["-h", "--help"]},
    callback=_serve,
    params=[
        click.Argument(["source"], metavar="[MODEL]", required=False),
        click.Option(["--demo"], is_flag=True, help="When ready, answer an easy and a hard request in each mode."),
        *(_option(name, field) for name, field in Settings.model_fields.items()),
    ],
    help="""Serve a model over OpenAI's and Anthropic's APIs, with mode=auto|long|short.

    MODEL is the same as --model. Without it the server has SmolLM2-135M-Instruct as trained by this project, prepared at the
    first start. Every option can also be set by a variable: AUTOTOOL_PORT=9000 is --port 9000.
    """,
)


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the settings that options of `autotool serve` name. Raises AutoToolError for one that there is not."""
    try:
        options = command.make_context("serve", [*arguments]).params
    except click.UsageError as error:
        raise AutoToolError(error.format_message()) from None
    options.pop("demo")
    return _given(options, options.pop("source"))
