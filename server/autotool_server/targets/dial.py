"""The dial that `autotool bench dial` measures: accuracy, tokens and thinking rate by the reasoning bias."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotool_core.errors import AutoToolError
from autotool_core.target import Target

ROUNDING = 1e-9
"""What two equal accuracies may differ by."""


class Figures(BaseModel):
    """What was measured at one bias."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    accuracy: float
    """The share of the tasks that were solved."""
    generated_tokens: float
    """Mean decoded tokens of a task."""
    thinking_rate: float
    """The share of the turns that had reasoning."""


class Step(BaseModel):
    """One position of the dial."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    bias: float
    figures: Figures


class Dial(BaseModel):
    """The content of a `dial.json`, as far as targets need it."""

    model_config = ConfigDict(frozen=True)

    steps: tuple[Step, ...] = Field(min_length=2)
    """The positions, in rising order of the bias."""

    def bias_for(self, target: Target) -> float:
        """Return the bias at which the target was met; that of the nearest end where it never was.

        Thinking rate and tokens are interpolated between neighbouring steps. For a regret it is the smallest bias whose
        accuracy is no more than that below the best one.
        """
        if target.kind == "regret":
            best = max(step.figures.accuracy for step in self.steps)
            least = best - target.value - ROUNDING
            return next(step.bias for step in self.steps if step.figures.accuracy >= least)
        values = [
            step.figures.thinking_rate if target.kind == "thinking-rate" else step.figures.generated_tokens
            for step in self.steps
        ]
        return _interpolated(values, [step.bias for step in self.steps], target.value)


def load_dial(path: Path) -> Dial:
    """Read a dial. Raises AutoToolError, which names the file, its first fault and the command that writes one."""
    remedy = "`autotool bench dial` writes such a file"
    try:
        dial = Dial.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AutoToolError(f"Setting dial: {path} cannot be read: {error.strerror}. {remedy}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise AutoToolError(f"Setting dial: {path}: {field}: {first['msg']}. {remedy}.") from None
    return Dial(steps=tuple(sorted(dial.steps, key=lambda step: step.bias)))


def _interpolated(values: Sequence[float], biases: Sequence[float], wanted: float) -> float:
    """Return the bias at which a value that rises with it is the wanted one. What falls by chance counts as level."""
    highest = values[0]
    if wanted <= highest:
        return biases[0]
    for index in range(1, len(values)):
        if values[index] >= wanted:
            share = (wanted - highest) / (values[index] - highest)
            return biases[index - 1] + share * (biases[index] - biases[index - 1])
        highest = max(highest, values[index])
    return biases[-1]
