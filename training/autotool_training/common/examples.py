"""From records to token ids, as the server makes them: the prompt by `PromptRenderer`, the answer behind the `auto` prefix."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_core.tokenizer import Tokenizer
from autotool_training.common.records import GoldCall, Record

IGNORE_INDEX = -100
"""Label of a token without loss, as torch's cross-entropy and transformers have it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training sequence: the loss is on the response alone."""

    prompt_ids: list[int]
    """Ends with the `auto` prefix, as the server's prompt does."""
    response_ids: list[int]
    """Decision token, rest of the mode's prefix, reasoning, answer, end of the turn."""


class ExampleWriter:
    """Writes examples for one checkpoint.

    Raises AutoToolError if the checkpoint cannot do `auto`, with the reason (`PromptRenderer.refusals`), or if its tool-call
    format is not the one that is written here (hermes).
    """

    def __init__(self, tokenizer: Tokenizer, profile: Profile, eos_token_id: int) -> None:
        self._renderer = PromptRenderer(tokenizer, profile)
        decision, think = self._renderer.decision_tokens, profile.think
        if decision is None or think is None:
            raise AutoToolError(f"The base cannot be trained for mode=auto: {self._renderer.refusals[Mode.AUTO]}")
        if profile.tool_format != "hermes":
            raise AutoToolError(f"Profile {profile.name} has the tool format {profile.tool_format}: only hermes is trained.")
        self.begun: Mapping[ResolvedMode, tuple[int, ...]] = {
            ResolvedMode.LONG: (decision.long, *decision.rest[ResolvedMode.LONG]),
            ResolvedMode.SHORT: (decision.short, *decision.rest[ResolvedMode.SHORT]),
        }
        """What a response of a mode begins with: the decision token and the rest of the prefix."""
        self._closing = f"\n{think.close}{think.answer_separator}"
        self._eos = eos_token_id

    def prompt(self, record: Record, mode: Mode = Mode.AUTO) -> list[int]:
        """The prompt's token ids, the mode's prefix included: the server's own."""
        return self._renderer.render(record.messages, record.tools, mode)

    def example(self, record: Record, mode: ResolvedMode) -> Example:
        """The gold answer in a mode. Raises AutoToolError for a long one without reasoning."""
        return Example(self.prompt(record), [*self.begun[mode], *self._renderer.ids(self._text(record, mode)), self._eos])

    def _text(self, record: Record, mode: ResolvedMode) -> str:
        if mode is ResolvedMode.SHORT:
            # Text beside the calls of a short answer is what RL takes for reasoning in the wrong place.
            return answer_text(None if record.calls else record.content, record.calls)
        if not record.reasoning:
            raise AutoToolError(f"Record {record.id} has no reasoning: a long answer needs one.")
        return record.reasoning.strip() + self._closing + answer_text(record.content, record.calls)


def answer_text(content: str | None, calls: Sequence[GoldCall]) -> str:
    """Text and calls as a model of the hermes format writes them."""
    written = (json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False) for call in calls)
    blocks = [f"<tool_call>\n{call}\n</tool_call>" for call in written]
    return "\n".join([content, *blocks] if content else blocks)
