"""A conversation: what was said, and how the next answer is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletionMessageParam

from autotool_core.modes import Mode


@dataclass(slots=True)
class Conversation:
    """The messages so far, and the settings that the user can change between two of them."""

    model: str
    default_mode: Mode | None = None
    """The server's mode for requests that name none; None if it is not known."""
    mode: Mode | None = None
    """The mode that the user has set; None for the server's."""
    bias: float | None = None
    budget: int | None = None
    """The maximal number of reasoning tokens of a turn."""
    system: str | None = None
    tools: tuple[str, ...] = ()
    """Names of the server tools that the model is offered."""
    messages: list[ChatCompletionMessageParam] = field(default_factory=list)

    @property
    def mode_that_holds(self) -> Mode | None:
        """The mode of the next answer; None if the server does not tell its default."""
        return self.mode or self.default_mode

    def request(self, messages: Sequence[ChatCompletionMessageParam], approvals: dict[str, bool] | None) -> dict[str, Any]:
        """Return the arguments of the request for an answer to the messages."""
        system: list[ChatCompletionMessageParam] = [{"role": "system", "content": self.system}] if self.system else []
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, *messages],
            "mode": self.mode.value if self.mode else None,
            "reasoning_bias": self.bias,
            "max_reasoning_tokens": self.budget,
            "tool_approvals": approvals,
            "stream_options": {"include_usage": True},
        }
        if self.tools:
            request["tools"] = [{"type": "server", "name": name} for name in self.tools]
        return request
