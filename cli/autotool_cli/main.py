"""The `autotool` command.

Each sub-command is imported when it is run, so that `autotool --help` answers at once and needs no extra.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from types import MappingProxyType
from typing import Annotated, Any

import typer

from autotool_cli import completion
from autotool_core import extras
from autotool_core.errors import AutoToolError
from autotool_core.imports import without_collections


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A sub-command that is imported when it is run."""

    target: str
    """`module:attribute`; the attribute is a Typer app or a click command."""
    help: str
    extra: str | None = None
    """The extra of this distribution that installs the command's dependencies; None if the base install is enough."""


COMMANDS = MappingProxyType(
    {
        "serve": LazyCommand("autotool_server.launch.command_line:command", "Serve a model over OpenAI's API.", extra="server"),
        "train": LazyCommand("autotool_training.cli:app", "Train a checkpoint that chooses how long to think.", extra="train"),
        "bench": LazyCommand("autotool_bench.cli:app", "Measure what a solved task costs in tokens.", extra="bench"),
        "calibrate": LazyCommand(
            "autotool_bench.cli_calibrate:app",
            "Find the reasoning bias for your own tasks, and what p_long is worth.",
            extra="bench",
        ),
        "chat": LazyCommand("autotool_client.chat.command:command", "Chat with a model in the terminal."),
        "keys": LazyCommand("autotool_cli.keys:app", "Make the keys of a server's clients, check them, and show their use."),
        "models": LazyCommand("autotool_cli.models:app", "List a server's models, or show what a checkpoint can do."),
    }
)

HELP = ["-h", "--help"]

app = typer.Typer(
    name="autotool",
    help="Serve tool-using language models that decide, request by request, how long to think.",
    no_args_is_help=True,
    context_settings={"help_option_names": HELP},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autotool {metadata.version(extras.DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction] the decorator keeps it
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def import_command(name: str, command: LazyCommand) -> Any:
    """Import a sub-command. Raises AutoToolError, naming the extra to install, if a package it needs is missing."""
    module, _, attribute = command.target.partition(":")
    with _naming_extra(name, command), without_collections():
        loaded = getattr(import_module(module), attribute)
    if not isinstance(loaded, typer.Typer):
        loaded.callback = _exit_on_interrupt(loaded.callback, name, command)
    return loaded


@contextmanager
def _naming_extra(name: str, command: LazyCommand) -> Iterator[None]:
    """Raise AutoToolError for a package that the command's extra would have installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if command.extra is None or (error.name or "").startswith("autotool_"):
            raise
        install = extras.install_command(command.extra)
        raise AutoToolError(f"`autotool {name}` needs the package {error.name}: {install}.") from error


def _exit_on_interrupt(callback: Callable[..., object], name: str, command: LazyCommand) -> Callable[..., object]:
    """Return the callback so that it exits with 130 on Ctrl-C, as Typer's commands do.

    Click's own commands would print "Aborted!" and exit with 1. A command may import packages as late as it needs them.
    """

    def run(**options: object) -> object:
        try:
            with _naming_extra(name, command):
                return callback(**options)
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def _register(name: str, command: LazyCommand) -> None:
    # Everything after the name, --help included, is for the sub-command to read.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}

    @app.command(name, help=command.help, add_help_option=False, context_settings=settings)
    def run(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction] the decorator keeps it
        # All of the extra's packages, since some are imported only when the work is done.
        if command.extra is not None and not set(HELP).intersection(context.args):
            extras.require(f"`autotool {name}`", command.extra)
        import_command(name, command)(args=context.args, prog_name=context.command_path, help_option_names=HELP)


for _name, _command in COMMANDS.items():
    _register(_name, _command)


def _prepare_completion() -> None:
    """Have the sub-command whose words a shell asks for complete them, unless its extra is not installed."""
    if (name := completion.subcommand(COMMANDS)) is not None:
        with suppress(AutoToolError):
            completion.put_in_place(app, name, import_command(name, COMMANDS[name]))


def _user_message(error: Exception) -> str | None:
    """Return what the user reads about an error that is not a bug, or None for a bug."""
    if isinstance(error, AutoToolError):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    # An error of openai, or of its HTTP client, can only come from a command that has imported it.
    if "httpx2" in sys.modules and isinstance(error, sys.modules["httpx2"].InvalidURL):
        return f"The URL cannot be read ({error}): write it as http://HOST:PORT/v1."
    if "openai" in sys.modules and isinstance(error, sys.modules["openai"].OpenAIError):
        return import_module("autotool_client.errors").user_message(error)
    return None


def _quieten_process_of_an_engine() -> None:
    """Have a process that an engine has started show no more before its logging is set up than after it.

    Such a process imports this module first, and then vLLM, which warns about Triton on every machine without a GPU.
    """
    # The name under which multiprocessing runs the command's script there.
    if "__mp_main__" in sys.modules and logging.lastResort is not None:
        logging.lastResort.setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"))


_quieten_process_of_an_engine()


def main() -> None:
    """Run the command: an error that a user can act on is one line on stderr and exit code 1, any other a traceback."""
    try:
        _prepare_completion()
        app()
    except Exception as error:
        message = _user_message(error)
        if message is None:
            raise
        sys.exit(f"autotool: {message}")
