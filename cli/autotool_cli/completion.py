"""Shell completion of what follows a sub-command.

`autotool` knows only the names of its sub-commands until one is run, so the one whose words are to be completed takes the
place of its stand-in first. The shell passes the line in variables of the environment, which Typer reads.
"""

import inspect
import os
import re
from collections.abc import Callable, Container
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import click  # comes with the extra `server`

VARIABLE = "_AUTOTOOL_COMPLETE"
# Of bash; of zsh, fish and PowerShell.
LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")


def subcommand(names: Container[str]) -> str | None:
    """Return the sub-command whose words a shell asks for; None if it asks for another thing or for nothing."""
    if not os.environ.get(VARIABLE, "").startswith("complete_"):
        return None
    line = next((os.environ[name] for name in LINES if name in os.environ), "")
    words = re.match(r"\S+\s+(\S+)\s", line)
    return words[1] if words is not None and words[1] in names else None


def put_in_place(app: typer.Typer, name: str, command: Any) -> None:
    """Replace the stand-in of a sub-command in the app by the sub-command: a Typer app or a click command."""
    app.registered_commands = [stand_in for stand_in in app.registered_commands if stand_in.name != name]
    if not isinstance(command, typer.Typer):
        app.command(name)(_with_options_of(command))
    elif (alone := _only_callback(command)) is not None:
        app.command(name)(alone)
    else:
        app.add_typer(command, name=name)


def _only_callback(command: typer.Typer) -> Callable[..., Any] | None:
    """Return the function of an app of one command, None for one with commands of its own."""
    commands = command.registered_commands
    return commands[0].callback if len(commands) == 1 and command.registered_callback is None else None


def _with_options_of(command: "click.Command") -> Callable[..., None]:
    """Return a function whose options, as Typer reads them, are those of a click command."""

    def run(**_: object) -> None:
        pass

    options = [_parameter(option) for option in command.params if option.param_type_name == "option"]
    run.__annotations__ = {option.name: option.annotation for option in options}
    run.__signature__ = inspect.Signature(options)  # pyright: ignore[reportFunctionMemberAccess] inspect reads it
    return run


def _parameter(option: Any) -> inspect.Parameter:
    default = typer.Option(None, *option.opts, help=option.help)
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_annotation(option))


def _annotation(option: Any) -> Any:
    """Return the type in which Typer finds the values of an option of click."""
    if option.type.name == "choice":
        return StrEnum(option.name, {choice: choice for choice in option.type.choices})
    return bool if option.type.name == "boolean" else str
