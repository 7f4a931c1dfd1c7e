"""Profiles: what a checkpoint's prefixes, markers and tool-call format are (DESIGN: "The modes")."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode

FILE_NAME = "mode_profile.json"

ToolFormat = Literal["hermes", "qwen3_coder"]


class ThinkFormat(BaseModel):
    """The think block: its markers and the response prefix of each mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open: str = "<think>"
    """Opens the think block."""
    close: str = "</think>"
    """Closes the think block."""
    long_prefix: str = "<think>\n"
    """After it the model writes reasoning."""
    short_prefix: str = "<think>\n\n</think>\n\n"
    """After it the model writes the answer."""
    auto_prefix: str = "<think>"
    """After it comes the decision token."""
    answer_separator: str = "\n\n"
    """Stands between the closing marker and the answer."""


class Profile(BaseModel):
    """What a checkpoint's prefixes, markers and tool-call format are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Shown in logs and errors."""
    think: ThinkFormat | None = ThinkFormat()
    """None for a model that cannot think: long and auto are refused."""
    tool_format: ToolFormat = "hermes"
    """How the model writes tool calls: `hermes` is JSON in `<tool_call>` (Hermes, Qwen2.5, Qwen3), `qwen3_coder`
    is XML in `<tool_call>` (Qwen3-Coder)."""
    strict_tools: bool = False
    """Whether the arguments of a call are held to its tool's schema where the tool does not say `strict` itself: for small
    models, which miswrite the names of parameters."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The texts that divide a turn."""
        think = (self.think.open, self.think.close) if self.think is not None else ()
        return (*think, "<tool_call>", "</tool_call>")

    def prefix(self, mode: Mode) -> str:
        """The response prefix of a mode; empty where the model cannot think."""
        if self.think is None:
            return ""
        return {Mode.LONG: self.think.long_prefix, Mode.SHORT: self.think.short_prefix, Mode.AUTO: self.think.auto_prefix}[mode]


BUILTIN = {
    profile.name: profile
    for profile in (
        Profile(name="qwen3"),
        Profile(name="qwen3-coder", think=None, tool_format="qwen3_coder"),
        Profile(name="smollm2-autotool"),
        Profile(name="plain", think=None),
    )
}


def load(path: Path) -> Profile:
    """Read a profile file. Raises AutoToolError with the file's name and the first thing wrong in it."""
    try:
        return Profile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise AutoToolError(f"{path}: {where}: {first['msg']}") from None
