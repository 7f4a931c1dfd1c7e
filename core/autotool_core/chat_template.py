"""A checkpoint's chat template: the text of a conversation, and what the template does with calls and the think block."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os.path import commonprefix
from typing import Any, cast

from jinja2 import TemplateError, TemplateSyntaxError

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.tokenizer import Tokenizer
from autotool_core.tool_formats.base import ToolFormat

MAX_TEMPLATE_MESSAGE = 200
EFFORTS = ("low", "medium", "high", "xhigh")
"""The efforts that a template may name, in rising order."""
_QUESTION = ({"role": "user", "content": "?"},)


class ChatTemplate:
    """Renders messages by the chat template of a tokenizer. Raises AutoToolError if it has none that is valid."""

    def __init__(self, tokenizer: Tokenizer, tool_format: ToolFormat) -> None:
        if not tokenizer.chat_template:
            raise AutoToolError(
                "The checkpoint has no chat template. Add chat_template.jinja to it, or serve its -Instruct sibling."
            )
        named = tokenizer.chat_template
        if isinstance(named, Mapping) and len(cast("Mapping[str, str]", named)) > 1 and "default" not in named:
            raise AutoToolError("The checkpoint has several chat templates, none of which is named default. Name one so.")
        self._tokenizer = tokenizer
        self._tool_format = tool_format
        self._call_content: str | None = ""
        self._takes_argument_text = False
        self._function_defaults: Mapping[str, Any] = {}
        self._function_defaults = self._probe_functions()
        self._call_content = self._probe_call_content()
        self._takes_argument_text = self._probe_arguments()

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
        *,
        generation_prompt: bool = True,
    ) -> str:
        """Return the text of a conversation; `arguments` are variables of the template.

        Raises InvalidRequestError for messages that the template refuses.
        """
        defaults = self._function_defaults
        tools = [{**tool, "function": {**defaults, **tool["function"]}} for tool in tools] if defaults else tools
        try:
            return self._tokenizer.apply_chat_template(
                [*messages],  # templates add lists to it
                tools=[*tools] or None,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **(arguments or {}),
            )
        except TemplateSyntaxError as error:
            reason = f"{error.message} (line {error.lineno})"[:MAX_TEMPLATE_MESSAGE]
            raise AutoToolError(f"The checkpoint's chat template is not valid: {reason}. Correct it.") from None
        except (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            reason = str(error)[:MAX_TEMPLATE_MESSAGE] if isinstance(error, TemplateError) else "it cannot render them"
            raise InvalidRequestError(f"The model's chat template refuses these messages: {reason}", "messages") from None

    def messages(self, messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the messages as the template takes them: their calls with the format's ids and arguments read as JSON.

        Arguments are then the same whatever spacing a client uses. A template that writes them by `tojson` gets objects; one
        that copies them gets the text that `tojson` would write.
        """
        named = [self._tool_format.message(message) for message in messages]
        return [self._with_read_arguments(message) for message in _with_format_ids(named, self._tool_format)]

    def shows(self, text: str, messages: Iterable[Mapping[str, Any]], *, generation_prompt: bool = True) -> bool:
        """Return whether the template accepts these messages and writes `text`."""
        try:
            return text in self.text(self.messages(messages), generation_prompt=generation_prompt)
        except InvalidRequestError:
            return False

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the template writes the tools of a request into the prompt: those of Gemma 3 and DeepSeek-V3 do not."""
        instructed = ({"role": "system", "content": "!"}, *_QUESTION)
        return any(map(self._shows_tool, (_QUESTION, instructed)))

    def _shows_tool(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        function = {"name": "probed_tool", "description": "", "parameters": {"type": "object", "properties": dict[str, Any]()}}
        try:
            return "probed_tool" in self.text(messages, [{"type": "function", "function": function}])
        except InvalidRequestError:
            return False

    def generation_prompt(self, arguments: Mapping[str, Any] | None = None) -> str:
        """Return the text that asks for an answer behind a conversation."""
        conversation = self.text(_QUESTION, (), arguments, generation_prompt=False)
        prompted = self.text(_QUESTION, (), arguments)
        if prompted == conversation:
            # The template asks for an answer whether it is told to or not.
            return prompted.rpartition("?")[2]
        return prompted[len(common_beginning(conversation, prompted)) :]

    def efforts(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the values of `reasoning_effort` that the template knows, in rising order; none if it has no such argument."""
        texts: dict[str, str] = {}
        for effort in EFFORTS:
            try:
                texts[effort] = self.text(_QUESTION, (), {**arguments, "reasoning_effort": effort})
            except InvalidRequestError:
                continue
        known = tuple(texts) if len({*texts.values()}) > 1 else ()
        # A template that accepts every word was made for those of the first one with efforts, gpt-oss.
        return known[:-1] if known == EFFORTS else known

    def _with_read_arguments(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
        if not calls:
            return message
        read = _canonical_text if self._takes_argument_text else _parse_object
        functions = [{**call["function"], "arguments": read(call["function"]["arguments"])} for call in calls]
        parsed = [{**call, "function": function} for call, function in zip(calls, functions, strict=True)]
        return {**message, "content": message.get("content") or self._call_content, "tool_calls": parsed}

    def _probe_functions(self) -> Mapping[str, Any]:
        """Return what the template needs of a function although clients may leave it out: a description (gpt-oss)."""
        function: Mapping[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
        defaults = {"description": ""}
        return defaults if not self._takes_function(function) and self._takes_function({**defaults, **function}) else {}

    def _takes_function(self, function: Mapping[str, Any]) -> bool:
        try:
            return bool(self.text(_QUESTION, [{"type": "function", "function": function}]))
        except InvalidRequestError:
            return False

    def _probe_call_content(self) -> str | None:
        """Return the content of an answer of calls alone: None if the template shows them only without one (DeepSeek R1)."""
        with_text, without = ("probed_call" in self._call_text("{}", content) for content in ("", None))
        return None if without and not with_text else ""

    def _probe_arguments(self) -> bool:
        """Return whether the template writes a call's arguments unchanged if they are text, with the model's own spacing."""
        arguments = '{"a":  1}'
        return self._tool_format.json_arguments and arguments in self._call_text(arguments, self._call_content)

    def _call_text(self, arguments: str, content: str | None) -> str:
        """Return the text of a call whose arguments are not read, "" if the template refuses it."""
        call = {"id": "c", "type": "function", "function": {"name": "probed_call", "arguments": arguments}}
        messages = [*_QUESTION, {"role": "assistant", "content": content, "tool_calls": [call]}]
        try:
            return self.text(_with_format_ids(messages, self._tool_format), generation_prompt=False)
        except InvalidRequestError:
            return ""


def _with_format_ids(messages: Iterable[Mapping[str, Any]], tool_format: ToolFormat) -> list[Mapping[str, Any]]:
    """Return the messages with the calls' ids as the format has them in prompts, in the calls and in their results."""
    result: list[Mapping[str, Any]] = []
    ids: dict[str, str] = {}
    number = 0
    for message in messages:
        calls: list[Mapping[str, Any]] = []
        for call in message.get("tool_calls") or ():
            new = tool_format.id_in_prompt(call["function"]["name"], number)
            number += 1
            ids.update({call["id"]: new} if new is not None and call.get("id") else {})
            calls.append({**call, "id": new} if new is not None else call)
        known = ids.get(message.get("tool_call_id") or "")
        result.append({**message, **({"tool_calls": calls} if calls else {}), **({"tool_call_id": known} if known else {})})
    return result


def _parse_object(arguments: str) -> dict[str, Any]:
    """Return the object, or {} for another text: a model may write anything, and its turn stays in the conversation."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] JSON keys are strings


def _canonical_text(arguments: str) -> str:
    """Return an object's text as chat templates write it; any other text as it is, and one that could not be written again."""
    try:
        value = json.loads(arguments)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict) else arguments
    except (ValueError, RecursionError):
        return arguments
    return text if is_unicode(text) else arguments


def common_beginning(*texts: str) -> str:
    """Return the text with which all of some texts begin."""
    return commonprefix(texts)  # noqa: RUF071 it is meant by the character


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
