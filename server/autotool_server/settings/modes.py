"""Settings of the mode: the default, efforts, targets of `auto`, relief under load, and audits."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autotool_core.modes import Mode
from autotool_core.target import TargetText
from autotool_server.settings.group import SettingsGroup, Text, from_json


class Effort(BaseModel):
    """What a reasoning effort stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    bias: float = Field(default=0.0, ge=-100, le=100)
    """Log-odds added to the long decision token in `auto`."""
    budget: int | None = Field(default=None, ge=0)
    """Limit of tokens in the think block; None for the server's default."""


EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "none": Effort(mode=Mode.SHORT),
        "minimal": Effort(mode=Mode.SHORT),
        "low": Effort(mode=Mode.AUTO, bias=-2, budget=512),
        "medium": Effort(mode=Mode.AUTO, budget=2048),
        "high": Effort(mode=Mode.LONG, budget=8192),
        "xhigh": Effort(mode=Mode.LONG, budget=32768),
        "max": Effort(mode=Mode.LONG),
    }
)


class ModeSettings(SettingsGroup):
    """How long requests think, and how that is measured."""

    default_mode: Mode = Mode.AUTO
    """Mode of requests that ask for none. Where the model cannot do auto, the default is long, or short if it cannot think."""

    effort: Annotated[dict[str, Effort], BeforeValidator(from_json)] = Field(default_factory=dict)
    """What a reasoning effort stands for, as JSON: {"low": {"mode": "auto", "bias": -2, "budget": 512}}. Defaults: none and
    minimal are short; low is auto with bias -2 and a budget of 512 tokens of reasoning; medium is auto with 2048; high,
    xhigh and max are long with 8192, 32768 and no budget of their own."""

    target: TargetText | None = None
    """What auto is to cost: thinking-rate=0.3, tokens=200 or regret=2% (docs/guides/targets.md). The server finds the reasoning
    bias that holds it, for requests that set none themselves. Default: no target."""

    alias_targets: Annotated[dict[str, TargetText], BeforeValidator(from_json)] = Field(default_factory=dict)
    """Targets of requests that ask for the model by one of its model_aliases, as JSON: {"cheap": "thinking-rate=0.1"}."""

    dial: Text | None = None
    """File dial.json of `autotool bench dial`, measured with this model: where the reasoning bias of a target begins. A target
    of regret needs it. Default: it begins at 0."""

    max_target_bias: float = Field(default=8, gt=0, le=100)
    """Largest reasoning bias in log-odds, up and down, that a target may lead to. With a dial, what it has measured bounds it
    too."""

    max_load_bias: float = Field(default=0, ge=0, le=100)
    """Largest log-odds by which auto is made to think less while requests wait, before thoughts are made shorter and before
    requests are refused (docs/guides/serve.md). Default: 0, thinking does not depend on the load."""

    slo_first_token: float = Field(default=5, gt=0)
    """Seconds from a request to its first token that max_load_bias is to keep, and then no more than max_queue_seconds. The
    metric autotool_load_pressure is in parts of it, also without max_load_bias."""

    audit: float = Field(default=0, ge=0, le=1)
    """Share of the requests in auto, drawn at random, that are also answered in the other mode, in the background and without
    running tools, to measure what auto saves (docs/guides/savings.md). GET /v1/savings tells it. Default: none."""

    audit_at_once: int = Field(default=1, ge=1)
    """Largest number of audits in the engine at once. 16 more may wait; further ones are dropped, and counted."""
