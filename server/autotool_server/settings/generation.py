"""Settings of generation: the limits of answers and of reasoning, and sampling, where requests leave them out."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from autotool_core.answer_reserve import DEFAULT_SHARE
from autotool_server.settings.group import SettingsGroup, from_json

MIN_REPETITION_PENALTY = 0.01
"""Logits that are divided by less may become infinite, and their probabilities no numbers."""

GENERATION_CONFIG_FILE = "generation_config.json"


def _config_source(source: str) -> str:
    """Return a source of the generation config: auto, vllm, or a folder that holds the file."""
    if source not in ("auto", "vllm") and not Path(source, GENERATION_CONFIG_FILE).is_file():
        raise PydanticCustomError("config_source", "Input should be auto, vllm, or a folder that holds generation_config.json")
    return source


class GenerationConfig(BaseModel):
    """What requests get that leave it out, by the names of a checkpoint's `generation_config.json`. None is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    do_sample: bool | None = None
    """false decodes greedily, whatever the temperature."""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    """0 and -1 consider the whole vocabulary."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, ge=MIN_REPETITION_PENALTY)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Limit of decoded tokens."""

    def overridden_by(self, other: "GenerationConfig") -> "GenerationConfig":
        """Return this configuration with the values that the other one has."""
        given = other.model_dump(exclude_none=True)
        if "temperature" in given:
            # A temperature that the operator gives is meant, whatever the checkpoint says of sampling.
            given.setdefault("do_sample", True)
        return self.model_copy(update=given)


class GenerationSettings(SettingsGroup):
    """How much is decoded and how it is sampled where a request does not say."""

    default_max_tokens: Annotated[int, Field(ge=1)] | Literal["context"] | None = None
    """Limit of an answer's tokens where the request sets none; context: what the context has left. Default: the
    profile's, else 4096."""

    default_max_reasoning_tokens: int | None = Field(default=None, ge=0)
    """Limit of the think block's tokens where neither the request nor its effort sets one. Default: the profile's, else
    none."""

    answer_reserve: float = Field(default=DEFAULT_SHARE, ge=0, lt=1)
    """Part of max_tokens, at most 1024 tokens, that reasoning leaves to the answer where the request does not limit the
    reasoning itself. 0 lets the reasoning take all of it."""

    generation_config: Annotated[str, AfterValidator(_config_source)] = "auto"
    """What requests get that leave their sampling out, as in vLLM: auto takes the checkpoint's generation_config.json, vllm
    takes none (temperature 1), and a folder is one that holds such a file. The limit max_new_tokens of a folder's file is also
    the largest that a request may set."""

    override_generation_config: Annotated[GenerationConfig, BeforeValidator(from_json)] = Field(
        default_factory=GenerationConfig
    )
    """Values in place of those of generation_config, as JSON: {"temperature": 0.5, "top_p": 0.9}. Names: do_sample,
    temperature, top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty and max_new_tokens, which is also
    the largest limit that a request may set."""

    closing_phrase: str | None = None
    """Text with which reasoning that reached its limit ends before the answer. Default: the profile's, else none."""
