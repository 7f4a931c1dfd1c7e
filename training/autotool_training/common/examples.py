"""Token ids of records as the server has them: prompts by `PromptRenderer`, answers that follow the `auto` prefix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_core.tokenizer import Tokenizer
from autotool_core.tool_formats.base import ToolFormat
from autotool_training.common.records import GoldCall, Record

IGNORE_INDEX = -100
"""Label of a token without loss, as torch's cross-entropy and transformers have it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training sequence; only the response has loss."""

    prompt_ids: list[int]
    """The prompt, which ends with the `auto` prefix as the server's does."""
    response_ids: list[int]
    """Decision token, rest of the mode's prefix, reasoning, answer, end of the turn."""


class ExampleWriter:
    """Writes the examples of one checkpoint.

    Raises AutoToolError if the checkpoint cannot do `auto`, with the reason (`PromptRenderer.refusals`).
    """

    def __init__(self, tokenizer: Tokenizer, profile: Profile, eos_token_id: int) -> None:
        self._renderer = PromptRenderer(tokenizer, profile)
        decision, think = self._renderer.decision_tokens, profile.think
        if decision is None or think is None:
            raise AutoToolError(f"The base cannot be trained for mode=auto: {self._renderer.refusals[Mode.AUTO]}")
        self.response_prefixes: Mapping[ResolvedMode, tuple[int, ...]] = {
            ResolvedMode.LONG: (decision.long, *decision.rest[ResolvedMode.LONG]),
            ResolvedMode.SHORT: (decision.short, *decision.rest[ResolvedMode.SHORT]),
        }
        """The token ids that a response in a mode starts with: the decision token and the rest of the mode's prefix."""
        self._tool_format = profile.tool_format
        self._closing = think.closing
        self._eos = eos_token_id

    def prompt(self, record: Record, mode: Mode = Mode.AUTO) -> list[int]:
        """Return the prompt's token ids, which are the server's, the mode's prefix included."""
        return self._renderer.render(record.messages, record.tools, mode)

    def fits(self, record: Record, max_tokens: int) -> bool:
        """Return whether the prompt has at most `max_tokens` tokens."""
        return len(self.prompt(record)) <= max_tokens

    def example(self, record: Record, mode: ResolvedMode) -> Example:
        """Return the gold answer in a mode. Raises AutoToolError for a long one without reasoning."""
        text = self._renderer.ids(self._text(record, mode))
        return Example(self.prompt(record), [*self.response_prefixes[mode], *text, self._eos])

    def _text(self, record: Record, mode: ResolvedMode) -> str:
        if mode is ResolvedMode.SHORT:
            # RL takes text next to the calls of a short answer for reasoning outside of the think block.
            return answer_text(None if record.calls else record.content, record.calls, self._tool_format)
        if not record.reasoning:
            raise AutoToolError(f"Record {record.id} has no reasoning: a long answer needs one.")
        return record.reasoning.strip() + self._closing + answer_text(record.content, record.calls, self._tool_format)


def answer_text(content: str | None, calls: Sequence[GoldCall], tool_format: ToolFormat) -> str:
    """Return text and calls as a model of this tool-call format writes them."""
    blocks = [tool_format.render_calls([(call.name, call.arguments) for call in calls])] if calls else []
    return "\n".join([content, *blocks] if content else blocks)
