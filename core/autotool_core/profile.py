"""Profiles: the response prefixes, markers and tool-call format of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from autotool_core import tool_formats
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.tool_formats.base import ToolFormat

FILE_NAME = "mode_profile.json"
MAX_READ_TOKENS = 126
"""Tokens that a decision head may read. vLLM reports the log-probabilities of 128 given tokens, two of which decide."""
MAX_SUM = 1e-6
"""What the weights of a head may differ from a sum of 0, as a share of their absolute values, for rounding."""

TEMPLATE_ARGUMENTS: Mapping[Mode, Mapping[str, JsonValue]] = {
    Mode.LONG: {"enable_thinking": True, "thinking": True},
    Mode.SHORT: {"enable_thinking": False, "thinking": False},
    Mode.AUTO: {},
}
"""The names in use: Qwen3, GLM and others have the first, DeepSeek-V3.1, Granite and Kimi the second. Where neither is defined
the model chooses."""


def _to_tool_format(value: object) -> ToolFormat:
    """Return the format that a profile names. Raises PydanticCustomError, which names the known ones."""
    if isinstance(value, ToolFormat):
        return value
    known = tool_formats.names()
    if not isinstance(value, str) or value not in known:
        raise PydanticCustomError("tool_format", "Input should be a known tool format: {known}", {"known": ", ".join(known)})
    return tool_formats.get(value)


def _to_name(tool_format: ToolFormat) -> str:
    return tool_format.name


NamedToolFormat = Annotated[ToolFormat, PlainValidator(_to_tool_format), PlainSerializer(_to_name)]
"""A tool-call format, which is its name in JSON."""


class ThinkFormat(BaseModel):
    """The think block: its markers and the response prefix of each mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open: str = "<think>"
    """The marker that opens the think block."""
    close: str = "</think>"
    """The marker that closes the think block."""
    reopen: tuple[str, ...] = ()
    """The texts that open the block again later in a turn; none where a later opening marker is content."""
    long_prefix: str = "<think>\n"
    """The prefix of `long`, after which the model writes reasoning; "" if the template's arguments alone make it think."""
    short_prefix: str | None = "<think>\n\n</think>\n\n"
    """The prefix of `short`, after which the model writes the answer; None for a model that always thinks."""
    auto_prefix: str | None = "<think>"
    """The prefix of `auto`, after which the decision token follows; None for a model that was not trained to choose."""
    answer_separator: str = "\n\n"
    """The text between the closing marker and the answer."""
    closing_phrase: str = ""
    """Text with which reasoning that reached its budget ends, so that the model knows that it must answer now."""

    @property
    def prefixes(self) -> Mapping[Mode, str | None]:
        """The prefix of each mode; None for one that the model does not have."""
        return {Mode.LONG: self.long_prefix, Mode.SHORT: self.short_prefix, Mode.AUTO: self.auto_prefix}

    @property
    def closing(self) -> str:
        """The text that closes the think block for the model."""
        return f"\n{self.close}{self.answer_separator}"


class DecisionHead(BaseModel):
    """Reads the decision of `auto` from the log-probabilities of some tokens behind its prefix (`autotool train decide`).

    The log-odds of long are the intercept and the weighted sum of the log-probabilities (nats). The checkpoint's own weights
    stay as they are, and so do its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tokens: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=2, max_length=MAX_READ_TOKENS)
    """Ids of the tokens, in the checkpoint's vocabulary; none is 0, with which vLLM fills up what it reports."""
    weights: tuple[float, ...]
    """One for each token. Their sum is 0, since some engines know log-probabilities up to a constant alone."""
    intercept: float
    """Log-odds of long where the weighted sum is 0."""

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if len(self.weights) != len(self.tokens) or len({*self.tokens}) != len(self.tokens):
            raise ValueError("tokens must differ, and weights must have one number for each of them")
        if abs(sum(self.weights)) > MAX_SUM * max(1.0, sum(map(abs, self.weights))):
            raise ValueError("the sum of weights must be 0")
        return self


class Profile(BaseModel):
    """The response prefixes, markers and tool-call format of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The name that logs and errors show."""
    think: ThinkFormat | None = ThinkFormat()
    """The think block; None for a model that cannot think, for which long and auto are refused."""
    tool_format: NamedToolFormat = tool_formats.get(tool_formats.DEFAULT)
    """How the model writes tool calls, by the name of a module of `tool_formats`: `hermes` is JSON in `<tool_call>` (Hermes,
    Qwen2.5, Qwen3)."""
    decision_head: DecisionHead | None = None
    """What reads the decision of `auto`; None for the decision tokens alone, whose probabilities are the model's own choice."""
    decision_bias: float = Field(default=0.0, ge=-100, le=100)
    """Log-odds added to long in every decision of `auto`, beside the bias of the request, its effort or its target."""
    template_arguments: Mapping[Mode, Mapping[str, JsonValue]] = TEMPLATE_ARGUMENTS
    """The arguments by which the chat template learns each mode."""
    strict_tools: bool = False
    """Whether a call's arguments are constrained by its tool's schema if the tool does not set `strict` itself: this is
    for small models, which miswrite the names of parameters."""
    drops_stray_markers: bool = False
    """Whether a marker that belongs to no block is left out of the answer: this is for small models, which write markers
    where they mean none. A larger model may write `</think>` because it explains what that is."""
    default_max_tokens: int | None = Field(default=None, ge=1)
    """Limit of an answer's tokens where neither the request nor the server sets one."""
    default_max_reasoning_tokens: int | None = Field(default=None, ge=0)
    """Limit of the think block's tokens where neither the request nor the server sets one."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The texts that divide a turn: think markers, then those of tool calls."""
        think = (self.think.open, self.think.close) if self.think is not None else ()
        return (*think, *self.tool_format.markers)

    def without_decision(self) -> "Profile":
        """Return the profile without what was fitted to decisions of these very weights, for a training that changes them."""
        return self.model_copy(update={"decision_head": None, "decision_bias": 0.0})

    def prefix(self, mode: Mode) -> str:
        """Return the response prefix of a mode, which is empty if the model does not have the mode."""
        return (self.think.prefixes[mode] if self.think is not None else None) or ""


BUILTIN = {
    profile.name: profile
    for profile in (
        Profile(name="qwen3"),
        Profile(name="qwen3-coder", think=None, tool_format=tool_formats.get("qwen3_coder")),
        Profile(name="smollm2-autotool", default_max_tokens=512, default_max_reasoning_tokens=512),
        Profile(name="plain", think=None),
    )
}


def load_profile(path: Path) -> Profile:
    """Read a profile file. Raises AutoToolError, which names the file, its first invalid field and the reason."""
    try:
        return Profile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise AutoToolError(f"{path}: {field}: {first['msg']}") from None


def named(name: str) -> Profile:
    """Return a built-in profile, or that of a file. Raises AutoToolError for a name that is neither."""
    if name in BUILTIN:
        return BUILTIN[name]
    if not Path(name).is_file():
        raise AutoToolError(f"Setting profile: {name} is neither a profile ({', '.join(BUILTIN)}) nor a file.")
    return load_profile(Path(name))
