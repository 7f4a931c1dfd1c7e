"""Which messages a chat template can show, found by rendering some."""

from functools import cached_property
from typing import Any

from autotool_core.chat_template import ChatTemplate
from autotool_server.conversation.messages import template_message


class TemplateAbilities:
    """What is found of a template, once: the service has a copy for each caller, and all of them share this."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    @cached_property
    def results(self) -> bool:
        """Whether the chat template has a place for results of tools."""
        return self._template.shows("result-1", _history_of_calls(1))

    @cached_property
    def parallel_calls(self) -> bool:
        """Whether the chat template takes a turn of several calls; without, a turn makes one.

        The template of Llama 3 refuses several, and that of gpt-oss leaves out all calls but the first.
        """
        shows = self._template.shows
        rendered = [text for text in ("result", "called") if shows(f"{text}-1", _history_of_calls(1))]
        return all(shows(f"{text}-2", _history_of_calls(2)) for text in rendered)

    @cached_property
    def late_system(self) -> bool:
        """Whether the chat template takes a system message after the first message."""
        history = [*map(template_message, ("user", "assistant", "user"), "?!?"), template_message("system", "instruction")]
        return self._template.shows("instruction", history)


def _history_of_calls(count: int) -> list[dict[str, Any]]:
    """Return a conversation with calls of one turn, `called-1` and so on, and their results, `result-1` and so on."""
    numbers = range(1, count + 1)
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": f"called-{n}", "arguments": "{}"}} for n in numbers]
    results = [template_message("tool", f"result-{n}", tool_call_id=f"c{n}") for n in numbers]
    return [template_message("user", "?"), template_message("assistant", "", tool_calls=calls), *results]
