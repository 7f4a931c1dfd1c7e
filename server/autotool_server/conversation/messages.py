"""Messages as chat templates take them."""

from collections.abc import Mapping, Sequence
from typing import Any


def template_message(
    role: str,
    content: str | None,
    *,
    reasoning: str | None = None,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    **others: str | None,
) -> dict[str, Any]:
    """Return a message for the chat template.

    Content is always text, reasoning has both names in use, and a developer is a system. `others` (`tool_call_id`, `name`) are
    left out where they are None.
    """
    message: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": content or ""}
    message |= {name: value for name, value in others.items() if value is not None}
    if reasoning is not None:
        message |= {"reasoning": reasoning, "reasoning_content": reasoning}
    return message | ({"tool_calls": list(tool_calls)} if tool_calls else {})
