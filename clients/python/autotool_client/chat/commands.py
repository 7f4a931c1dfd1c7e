"""The commands of the chat: lines that begin with a slash."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType

from autotool_client.chat.conversation import Conversation
from autotool_client.chat.saving import save
from autotool_client.chat.screen import Screen
from autotool_client.chat.server import ServerTool
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode

OFF = "off"
"""The argument that takes a setting back."""
HELP = MappingProxyType(
    {
        "/long": "reason before every answer",
        "/short": "answer at once",
        "/auto": "let the model decide",
        "/bias [N|off]": "log-odds added to reasoning, for /auto",
        "/budget [N|off]": "most tokens of reasoning in a turn",
        "/system [TEXT|off]": "the system message",
        "/tools [NAME...|all|off]": "list the server's tools; offer only these, by name or pattern (math.*)",
        "/save [FILE]": "write the conversation as Markdown, or as JSON if FILE ends in .json",
        "/reset": "forget the conversation",
        "/help": "show this list",
        "/quit": "leave; so do Ctrl-D, and Ctrl-C twice",
    }
)
KEYS = MappingProxyType(
    {
        "Alt+Enter": "a new line; a pasted block stays one message",
        "Up, Ctrl-R": "earlier messages",
        "Ctrl-C": "stop the answer, or clear the line",
    }
)
NAMES = tuple(usage.partition(" ")[0] for usage in HELP)


def split(line: str) -> tuple[str, str] | None:
    """Return the name and the argument of a command, or None for a message, such as one that begins with a path."""
    name, _, argument = line.partition(" ")
    return (name, argument.strip()) if name[:1] == "/" and name[1:].isalpha() and "\n" not in name else None


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands on a conversation."""

    conversation: Conversation
    tools: Sequence[ServerTool]
    screen: Screen

    def run(self, name: str, argument: str) -> None:
        """Run a command and show what it did. Raises AutoToolError if it cannot be run."""
        if name not in NAMES:
            raise AutoToolError(f"Unknown command {name}; /help lists the commands.")
        if argument and name in HELP:
            raise AutoToolError(f"{name} takes no argument.")
        self._handlers()[name](argument)

    def _handlers(self) -> Mapping[str, Callable[[str], None]]:
        return {
            **{f"/{mode}": partial(self._mode, mode) for mode in Mode},
            "/bias": self._bias,
            "/budget": self._budget,
            "/system": self._system,
            "/tools": self._tools,
            "/save": self._save,
            "/reset": self._reset,
            "/help": self._help,
        }

    def _mode(self, mode: Mode, _: str) -> None:
        self.conversation.mode = mode
        self.screen.note(f"Mode: {mode}.")

    def _bias(self, argument: str) -> None:
        if argument:
            self.conversation.bias = None if argument == OFF else _bias_of(argument)
        self.screen.note(f"Bias: {_shown(self.conversation.bias)}.")

    def _budget(self, argument: str) -> None:
        if argument:
            self.conversation.budget = None if argument == OFF else _budget_of(argument)
        self.screen.note(f"Budget of reasoning: {_shown(self.conversation.budget)}.")

    def _system(self, argument: str) -> None:
        if argument:
            self.conversation.system = None if argument == OFF else argument
        self.screen.note(f"System message: {_shown(self.conversation.system)}")

    def _tools(self, argument: str) -> None:
        if argument:
            self.conversation.tools = chosen_tools(self.tools, argument.replace(",", " ").split())
        if not self.tools:
            self.screen.note("The server has no tools.")
            return
        self.screen.table([(tool.name, self._tool(tool)) for tool in self.tools])

    def _tool(self, tool: ServerTool) -> str:
        if tool.disabled:
            return f"disabled: {tool.disabled}"
        state = "on" if tool.name in self.conversation.tools else "off"
        approval = {"always": ", asks you", "first": ", asks you once"}.get(tool.approval, "")
        return f"{state}{approval} · {tool.summary}"

    def _save(self, argument: str) -> None:
        self.screen.note(f"Saved to {save(self.conversation, argument)}.")

    def _reset(self, _: str) -> None:
        self.conversation.messages = []
        self.screen.note("The conversation is cleared.")

    def _help(self, _: str) -> None:
        self.screen.table([*HELP.items(), *KEYS.items()])


def chosen_tools(tools: Sequence[ServerTool], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tools that are wanted by name or pattern, by `all` or by `off`, less the disabled ones.

    Raises AutoToolError if the server has no tool of such a name.
    """
    usable = [tool.name for tool in tools if not tool.disabled]
    if list(wanted) in (["all"], [OFF]):
        return tuple(usable) if wanted[0] == "all" else ()
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in usable):
            raise AutoToolError(f"The server has no tool {pattern!r}. There are: {', '.join(usable) or 'none'}.")
    return tuple(name for name in usable if any(fnmatchcase(name, pattern) for pattern in wanted))


def _bias_of(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AutoToolError("/bias takes a number, such as 1.5, or off.")
    return value


def _budget_of(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise AutoToolError("/budget takes a number of tokens, such as 256, or off.")
    return int(text)


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
