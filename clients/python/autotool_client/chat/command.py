"""The command `autotool chat`.

Reasoning is dimmed; a line after each answer reports its mode, who decided, and what it cost. With a pipe for
standard input every line is a message: `echo "What is 2+2?" | autotool chat --mode short`.
"""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console

from autotool_client.chat import commands
from autotool_client.chat.commands import Commands, chosen_tools
from autotool_client.chat.conversation import Conversation
from autotool_client.chat.reader import LineReader, Reader
from autotool_client.chat.screen import PlainScreen, Screen
from autotool_client.chat.server import ServerInfo, look_up
from autotool_client.chat.session import Session
from autotool_client.chat.terminal import TerminalScreen
from autotool_client.client import DEFAULT_BASE_URL, AsyncAutoTool
from autotool_client.models import Url
from autotool_core import extras
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@command.command()
def chat(
    *,
    url: Url = DEFAULT_BASE_URL,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model to chat with. Default: the server's first.")] = None,
    mode: Annotated[
        Mode | None, typer.Option(metavar="auto|long|short", help="Mode of the first messages. Default: the server's.")
    ] = None,
    bias: Annotated[float | None, typer.Option(help="Log-odds added to reasoning in auto.")] = None,
    budget: Annotated[int | None, typer.Option(metavar="TOKENS", min=0, help="Most tokens of reasoning in a turn.")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message.")] = None,
    tools: Annotated[
        str, typer.Option(metavar="NAMES|all|off", help="Server tools to offer, by name or pattern, with commas between.")
    ] = "all",
) -> None:
    """Chat with a model in the terminal.

    Reasoning is dimmed; a line after each answer reports its mode, who decided, and what it cost. /help lists the commands
    for the mode, tools and other settings. Ctrl-C stops an answer, Ctrl-D leaves. With a pipe for standard input every line
    is a message. If the server needs a key, it is read from AUTOTOOL_API_KEY.
    """
    console = Console()
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    screen = _screen(console)
    with asyncio.Runner() as runner:
        client = AsyncAutoTool(base_url=url, max_retries=0)
        info = runner.run(look_up(client, model))
        conversation = Conversation(info.model, info.default_mode, _one_mode(mode, info.mode), bias, budget, system)
        conversation.tools = chosen_tools(info.tools, tools.replace(",", " ").split())
        reader = _keyboard(info, screen) if interactive else LineReader()
        if interactive:
            screen.note(_greeting(conversation, client))
        Session(client, conversation, Commands(conversation, info.tools, screen), screen, reader, runner, interactive).run()
        runner.run(client.close())


def _one_mode(option: Mode | None, alias: Mode | None) -> Mode | None:
    """Return the mode of the first messages. Raises AutoToolError if --mode and the model's name ask for different ones."""
    if option and alias and option is not alias:
        raise AutoToolError(f"--mode asks for {option}, and the name of --model for {alias}: give only one of them.")
    return option or alias


def _screen(console: Console) -> Screen:
    can_draw = console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
    return TerminalScreen(console) if can_draw else PlainScreen(console)


def _keyboard(info: ServerInfo, screen: Screen) -> Reader:
    """Return the keyboard. Raises AutoToolError if the package that it needs is missing."""
    try:
        from autotool_client.chat.keyboard import CommandCompleter, Keyboard  # noqa: PLC0415 pipes do without it
    except ModuleNotFoundError as error:
        fix = extras.install_command("chat")
        raise AutoToolError(f"`autotool chat` in a terminal needs the package {error.name}: {fix}.") from error
    return Keyboard(CommandCompleter(commands.NAMES, [tool.name for tool in info.tools]), screen.note)


def _greeting(conversation: Conversation, client: AsyncAutoTool) -> str:
    tools = f" · tools: {', '.join(conversation.tools)}" if conversation.tools else ""
    return f"{conversation.model} at {client.base_url}{tools} · /help lists the commands"
