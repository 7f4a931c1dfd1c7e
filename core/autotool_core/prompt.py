"""Renders messages to token ids: the checkpoint's chat template, then the response prefix of the mode.

The prefix is always tokenised by itself, so that a mode has the same ids after any text, here and in training. If the
template itself writes a part of the prefix after its generation prompt, that part is removed and the canonical ids are
put in its place.

The results of tools are data, and so are the earlier answers of the model: if either holds the text of a control token or a
marker, that text is tokenised in two pieces, so that the model reads the characters and nothing in the history ends a turn,
opens one in another role or makes a call. Think markers in the content of an answer stay markers, since some clients send
reasoning back in the content and some templates look for it there.
"""

import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, cast

from jinja2 import TemplateError

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import Profile, ThinkFormat
from autotool_core.tokenizer import Tokenizer
from autotool_core.tool_formats.base import ToolFormat

# The arguments by which chat templates learn the mode; an undefined one lets the model choose.
TEMPLATE_KWARGS: Mapping[Mode, Mapping[str, bool]] = {
    Mode.LONG: {"enable_thinking": True},
    Mode.SHORT: {"enable_thinking": False},
    Mode.AUTO: {},
}
MAX_TEMPLATE_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class DecisionTokens:
    """The tokens of which `auto` decodes one first, and the tokens injected after it to complete the prefix of its mode."""

    long: int
    short: int
    rest: Mapping[ResolvedMode, tuple[int, ...]]


class PromptRenderer:
    """Renders conversations for one checkpoint. `refusals` holds the reason for each mode that it does not support."""

    def __init__(self, tokenizer: Tokenizer, profile: Profile) -> None:
        if not tokenizer.chat_template:
            raise AutoToolError(
                "The checkpoint has no chat template. Add chat_template.jinja to it, or serve its -Instruct sibling."
            )
        self._tokenizer = tokenizer
        self._profile = profile
        self._emitted: dict[Mode, str] = {}
        self.refusals: dict[Mode, str] = {}
        for mode in Mode:
            self._probe(mode)
        self.prefix_ids: dict[Mode, tuple[int, ...]] = {mode: self.ids(profile.prefix(mode)) for mode in Mode}
        self.decision_tokens = self._find_decision_tokens()
        self.marker_ids = {ids[0] for marker in profile.markers if len(ids := self.ids(marker)) == 1}
        self._call_content = self._probe_call_content()
        self._takes_argument_text = self._probe_arguments()
        self._control = _control_texts(tokenizer, profile)
        # Templates look in the content of earlier answers for the end of the reasoning in it.
        self._control_in_answers = _control_texts(tokenizer, profile, allowed=_think_markers(profile))

    @property
    def can_think(self) -> bool:
        """Whether the model has a think block."""
        return self._profile.think is not None

    def max_injected_tokens(self, mode: Mode) -> int:
        """Return the maximal number of tokens that a turn adds to the context beyond those that the request limits.

        They are the decision token, the tokens that complete the prefix after it, and those that close the think block.
        """
        think, decision = self._profile.think, self.decision_tokens
        closing = len(self.ids(f"{think.closing_phrase}{think.closing}")) if think is not None else 0
        deciding = 1 + max(map(len, decision.rest.values())) if mode is Mode.AUTO and decision is not None else 0
        return closing + deciding

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text by itself, without the tokens that begin a sequence."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        mode: Mode,
        *,
        generation_prompt: bool = True,
    ) -> list[int]:
        """Return the token ids of the conversation, which end with the response prefix of the mode.

        Without `generation_prompt` they end with the last message.

        Raises InvalidRequestError for a mode that the checkpoint does not support and for messages that its template refuses.
        """
        if mode in self.refusals:
            raise InvalidRequestError(f"mode={mode} cannot be served: {self.refusals[mode]}", "mode", code="unsupported_mode")
        placeholders = _Placeholders()
        try:
            messages = _with_format_ids(messages, self._profile.tool_format)
            messages = [self._with_read_arguments(message) for message in messages]
            messages = [self._with_placeholders(message, placeholders) for message in messages]
            text = self._render_text(messages, tools, mode, prompt=generation_prompt)
        except RecursionError:
            raise InvalidRequestError("The arguments of a tool call in messages are nested too deeply.", "messages") from None
        if not _is_unicode(text):
            raise InvalidRequestError("messages hold half of a surrogate pair, which is no character.", "messages")
        if not generation_prompt:
            return self._ids_of(placeholders.pieces(text))
        return [*self._ids_of(placeholders.pieces(text.removesuffix(self._emitted[mode]))), *self.prefix_ids[mode]]

    def _ids_of(self, pieces: Sequence[str]) -> list[int]:
        return [token for piece in pieces for token in self.ids(piece)]

    def renders_text(self, text: str, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the chat template accepts these messages and the prompt contains `text`."""
        messages = _with_format_ids(messages, self._profile.tool_format)
        messages = [self._with_read_arguments(message) for message in messages]
        try:
            return text in self._render_text(messages, (), Mode.SHORT)
        except InvalidRequestError:
            return False

    def _with_read_arguments(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the message with its calls' arguments read as JSON, so that they are the same whatever spacing a client uses.

        A template that writes arguments by `tojson` gets objects; one that copies them gets the text that `tojson` would write.
        """
        calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
        read = _canonical_text if self._takes_argument_text else _parse_object
        functions = [{**call["function"], "arguments": read(call["function"]["arguments"])} for call in calls]
        parsed = [{**call, "function": function} for call, function in zip(calls, functions, strict=True)]
        return {**message, "content": message.get("content") or self._call_content, "tool_calls": parsed} if parsed else message

    def _with_placeholders(self, message: Mapping[str, Any], placeholders: "_Placeholders") -> Mapping[str, Any]:
        if message["role"] not in ("tool", "assistant"):
            return message
        in_content = self._control_in_answers if message["role"] == "assistant" else self._control
        patterns = {name: in_content if name == "content" else self._control for name in message}
        replaced = {name: placeholders.insert(value, patterns[name]) for name, value in message.items()}
        return {**replaced, "role": message["role"]}

    def _render_text(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], mode: Mode, *, prompt: bool = True
    ) -> str:
        try:
            return self._tokenizer.apply_chat_template(
                messages, tools=tools or None, add_generation_prompt=prompt, tokenize=False, **TEMPLATE_KWARGS[mode]
            )
        except (TemplateError, TypeError) as error:
            reason = str(error)[:MAX_TEMPLATE_MESSAGE] if isinstance(error, TemplateError) else "it cannot render them"
            raise InvalidRequestError(f"The model's chat template refuses these messages: {reason}", "messages") from None

    def _probe(self, mode: Mode) -> None:
        """Find the part of the think block that the template writes, and whether the mode's prefix can follow it."""
        think = self._profile.think
        if think is None:
            self._emitted[mode] = ""
            if mode is not Mode.SHORT:
                self.refusals[mode] = f"profile {self._profile.name} is of a model that cannot think. Ask for mode=short."
            return
        self._emitted[mode] = self._emitted_by_template(think, mode)
        if not self._profile.prefix(mode).startswith(self._emitted[mode]):
            self.refusals[mode] = "the chat template already settles the think block in another way."

    def _probe_call_content(self) -> str | None:
        """Return the content of an answer of calls alone: None if the template shows them only without one (DeepSeek R1)."""
        return None if not self._shows_call("") and self._shows_call(None) else ""

    def _shows_call(self, content: str | None) -> bool:
        call = {"id": "c", "type": "function", "function": {"name": "probed_call", "arguments": "{}"}}
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": content, "tool_calls": [call]}]
        try:
            messages = _with_format_ids(messages, self._profile.tool_format)
            return "probed_call" in self._render_text(messages, (), Mode.SHORT, prompt=False)
        except InvalidRequestError:
            return False

    def _probe_arguments(self) -> bool:
        """Return whether the template writes a call's arguments unchanged if they are text, with the model's own spacing."""
        arguments = '{"a":  1}'
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        answer = {"role": "assistant", "content": self._call_content, "tool_calls": [call]}
        messages = [{"role": "user", "content": "?"}, answer]
        try:
            messages = _with_format_ids(messages, self._profile.tool_format)
            return arguments in self._render_text(messages, (), Mode.SHORT, prompt=False)
        except InvalidRequestError:
            return False

    def _emitted_by_template(self, think: ThinkFormat, mode: Mode) -> str:
        probe = [{"role": "user", "content": "?"}]
        conversation = self._render_text(probe, (), mode, prompt=False)
        prompted = self._render_text(probe, (), mode)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(conversation, prompted, strict=False)))
        generation_prompt = prompted[shared:]
        start = generation_prompt.find(think.open)
        return generation_prompt[start:] if start >= 0 else ""

    def _find_decision_tokens(self) -> DecisionTokens | None:
        if Mode.AUTO in self.refusals:
            return None
        auto, long, short = (self.prefix_ids[mode] for mode in (Mode.AUTO, Mode.LONG, Mode.SHORT))
        index = len(auto)
        extends = long[:index] == auto == short[:index] and min(len(long), len(short)) > index
        if not extends or long[index] == short[index]:
            self.refusals[Mode.AUTO] = "the tokenizer cannot tell the long and the short prefix apart by one decision token."
            return None
        rest = {ResolvedMode.LONG: long[index + 1 :], ResolvedMode.SHORT: short[index + 1 :]}
        return DecisionTokens(long[index], short[index], rest)


class _Placeholders:
    """Stand for the control texts in data while the template is rendered; the texts are then tokenised as characters."""

    def __init__(self) -> None:
        # Tools cannot guess the name, and it has only letters and digits so that no template changes it.
        self._name = secrets.token_hex(16)
        self._control_texts: list[str] = []

    def insert(self, value: Any, control: re.Pattern[str] | None) -> Any:
        """Return the value with a placeholder for each control text in it, at any depth."""
        if control is None:
            return value
        if isinstance(value, str):
            return control.sub(self._placeholder, value)
        if isinstance(value, Mapping):
            mapping = cast("Mapping[str, Any]", value)
            return {self.insert(key, control): self.insert(inner, control) for key, inner in mapping.items()}
        if isinstance(value, list):
            return [self.insert(inner, control) for inner in cast("list[Any]", value)]
        return value

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of the text that are tokenised one by one; each control text is two of them."""
        if not self._control_texts:
            return [text]
        parts = re.split(f"{self._name}([0-9]+)x", text)
        # At odd positions are the numbers of placeholders.
        return [piece for i, part in enumerate(parts) for piece in (self._halves(int(part)) if i % 2 else (part,))]

    def _placeholder(self, match: re.Match[str]) -> str:
        self._control_texts.append(match[0])
        return f"{self._name}{len(self._control_texts) - 1}x"

    def _halves(self, number: int) -> tuple[str, str]:
        return self._control_texts[number][:1], self._control_texts[number][1:]


def _with_format_ids(messages: Sequence[Mapping[str, Any]], tool_format: ToolFormat) -> list[Mapping[str, Any]]:
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


def _think_markers(profile: Profile) -> Collection[str]:
    return (profile.think.open, profile.think.close) if profile.think is not None else ()


def _control_texts(tokenizer: Tokenizer, profile: Profile, allowed: Collection[str] = ()) -> re.Pattern[str] | None:
    """Return a pattern of the texts that control the model: every added token and marker except those `allowed`."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    # A single character, such as a newline or byte that is a token, cannot be split.
    texts = {text for text in (*(str(token.content) for token in added), *profile.markers) if len(text.strip()) > 1}
    texts -= {*allowed}
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


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
    return text if _is_unicode(text) else arguments


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
