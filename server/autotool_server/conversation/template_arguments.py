"""The variables that a request gives the chat template: which of them choose the mode, and which are refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_server.conversation.request import ConversationRequest

EFFORT = "reasoning_effort"
RANKS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""OpenAI's efforts in rising order. Those below `low` mean that the model does not think, which no template has a word for."""
RESERVED = frozenset(
    {
        *("messages", "conversation", "mode", "tools", "custom_tools", "builtin_tools", "xml_tools", "python_tools"),
        *("chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "padding", "truncation"),
        *("max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
        *("bos_token", "eos_token", "pad_token", "unk_token"),
    }
)
"""The names that the server sets itself: the first ones have fields of their own, and a prompt is always token ids."""


class TemplateArguments:
    """Reads template arguments for one profile. `efforts`: the values of `reasoning_effort` that the template knows."""

    def __init__(self, profile: Profile, efforts: Sequence[str]) -> None:
        self._of_modes = profile.template_arguments
        self._efforts = efforts
        self._names = {name for arguments in self._of_modes.values() for name in arguments}

    def mode_hints(self, request: ConversationRequest) -> dict[str, Mode]:
        """Return the modes that arguments ask for, by the paths of the arguments. Raises InvalidRequestError."""
        given = {name: value for name, value in request.template_arguments.items() if name in self._names and value is not None}
        return {
            f"{request.fields.template_arguments}.{name}": self._mode(name, value, request.fields.template_arguments)
            for name, value in given.items()
        }

    def arguments(self, request: ConversationRequest) -> Mapping[str, Any]:
        """Return the arguments that say nothing of the mode, and the request's effort if the template knows efforts.

        Raises InvalidRequestError for a name that the server sets itself.
        """
        for name in request.template_arguments:
            if name in RESERVED:
                field = request.fields.template_arguments
                raise InvalidRequestError(f"{name} is set by the server and cannot be sent in {field}.", f"{field}.{name}")
        given = {name: value for name, value in request.template_arguments.items() if name not in self._names}
        effort = self._effort(request.effort)
        return {EFFORT: effort, **given} if effort is not None else given

    def _mode(self, name: str, value: object, field: str) -> Mode:
        values = {mode: arguments[name] for mode, arguments in self._of_modes.items() if name in arguments}
        for mode, known in values.items():
            if known == value and type(known) is type(value):
                return mode
        choices = " or ".join(str(known).lower() for known in values.values())
        raise InvalidRequestError(f"{name} chooses the mode of this model and must be {choices}.", f"{field}.{name}")

    def _effort(self, effort: str | None) -> str | None:
        """Return the least effort of the template that is not below the request's, else its highest."""
        if not self._efforts or effort not in RANKS or RANKS.index(effort) < RANKS.index("low"):
            return None
        above = (known for known in self._efforts if RANKS.index(known) >= RANKS.index(effort))
        return next(above, self._efforts[-1])
