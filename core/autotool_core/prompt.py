"""From messages to token ids: the checkpoint's chat template, then the response prefix of the mode.

The prefix is always tokenised by itself, so that a mode has the same ids whatever stands before it, here and in
training. Where the template itself writes a part of the prefix after its generation prompt, that part is taken off and
the canonical ids put in its place.

What a tool returned is data, and so is what the model has said of it: where either holds the text of a control token or a
marker, that text is tokenised in two pieces, so that the model reads the characters and nothing in the history ends a turn,
opens one in another role or makes a call. Think markers in the content of an answer stay what they are: there are clients
that send reasoning back in it, and templates that look for it.
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

# What a chat template is told about the mode; undefined means that the model chooses.
TEMPLATE_KWARGS: Mapping[Mode, Mapping[str, bool]] = {
    Mode.LONG: {"enable_thinking": True},
    Mode.SHORT: {"enable_thinking": False},
    Mode.AUTO: {},
}
MAX_TEMPLATE_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class DecisionTokens:
    """What `auto` can decode first, and what is injected after it to complete the prefix of the mode it settled."""

    long: int
    short: int
    rest: Mapping[ResolvedMode, tuple[int, ...]]


class PromptRenderer:
    """Renders conversations for one checkpoint. `refusals` says, per mode it cannot do, why not."""

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
        self._takes_argument_text = self._probe_arguments()
        self._control = _control_texts(tokenizer, profile)
        # Templates find in the content of earlier answers where the reasoning in it ends.
        self._control_in_answers = _control_texts(tokenizer, profile, allowed=_think_markers(profile))

    @property
    def can_think(self) -> bool:
        """Whether the model has a think block at all."""
        return self._profile.think is not None

    def most_injected(self, mode: Mode) -> int:
        """How many tokens, at most, a turn needs of the context beyond those it was asked to decode.

        They are the decision token, what completes the prefix after it, and what closes the think block.
        """
        think, decision = self._profile.think, self.decision_tokens
        closing = len(self.ids(f"\n{think.close}{think.answer_separator}")) if think is not None else 0
        deciding = 1 + max(map(len, decision.rest.values())) if mode is Mode.AUTO and decision is not None else 0
        return closing + deciding

    def ids(self, text: str) -> tuple[int, ...]:
        """Tokenise a piece of text by itself, without the tokens that begin a sequence."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], mode: Mode) -> list[int]:
        """Token ids of the conversation up to and with the response prefix of the mode.

        Raises InvalidRequestError for a mode that the checkpoint cannot do and for messages that its template refuses.
        """
        if mode in self.refusals:
            raise InvalidRequestError(f"mode={mode} cannot be served: {self.refusals[mode]}", "mode", code="unsupported_mode")
        data = _Data()
        try:
            if not self._takes_argument_text:
                messages = [_with_parsed_arguments(message) for message in messages]
            messages = [self._with_data_hidden(message, data) for message in messages]
            text = self._render_text(messages, tools, mode).removesuffix(self._emitted[mode])
        except RecursionError:
            raise InvalidRequestError("The arguments of a tool call in messages are nested too deeply.", "messages") from None
        if not _is_unicode(text):
            raise InvalidRequestError("messages hold half of a surrogate pair, which is no character.", "messages")
        return [token for piece in data.pieces(text) for token in self.ids(piece)] + [*self.prefix_ids[mode]]

    def shows(self, text: str, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the chat template takes these messages and writes this text of them."""
        if not self._takes_argument_text:
            messages = [_with_parsed_arguments(message) for message in messages]
        try:
            return text in self._render_text(messages, (), Mode.SHORT)
        except InvalidRequestError:
            return False

    def _with_data_hidden(self, message: Mapping[str, Any], data: "_Data") -> Mapping[str, Any]:
        if message["role"] not in ("tool", "assistant"):
            return message
        in_content = self._control_in_answers if message["role"] == "assistant" else self._control
        hidden = {name: data.hide(value, in_content if name == "content" else self._control) for name, value in message.items()}
        return {**hidden, "role": message["role"]}

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
        """Find what the template writes of the think block, and whether the mode's prefix can follow it."""
        think = self._profile.think
        if think is None:
            self._emitted[mode] = ""
            if mode is not Mode.SHORT:
                self.refusals[mode] = f"profile {self._profile.name} is of a model that cannot think. Ask for mode=short."
            return
        self._emitted[mode] = self._emitted_by_template(think, mode)
        if not self._profile.prefix(mode).startswith(self._emitted[mode]):
            self.refusals[mode] = "the chat template already settles the think block in another way."

    def _probe_arguments(self) -> bool:
        """Whether the template writes a call's arguments as they are given in text, which keeps the model's own spacing."""
        arguments = '{"a":  1}'
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        try:
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
        at = len(auto)
        extends = long[:at] == auto == short[:at] and min(len(long), len(short)) > at
        if not extends or long[at] == short[at]:
            self.refusals[Mode.AUTO] = "the tokenizer cannot tell the long and the short prefix apart by one decision token."
            return None
        return DecisionTokens(
            long=long[at], short=short[at], rest={ResolvedMode.LONG: long[at + 1 :], ResolvedMode.SHORT: short[at + 1 :]}
        )


class _Data:
    """Control texts in data, put aside while the template is rendered and tokenised as plain characters."""

    def __init__(self) -> None:
        # Not to be guessed by a tool, and of letters, so that no template changes it.
        self._name = secrets.token_hex(16)
        self._found: list[str] = []

    def hide(self, value: Any, control: re.Pattern[str] | None) -> Any:
        """The value with each control text, in whatever text it holds, replaced by a name of its own."""
        if control is None:
            return value
        if isinstance(value, str):
            return control.sub(self._put_aside, value)
        if isinstance(value, Mapping):
            held = cast("Mapping[str, Any]", value)
            return {self.hide(key, control): self.hide(inner, control) for key, inner in held.items()}
        if isinstance(value, list):
            return [self.hide(inner, control) for inner in cast("list[Any]", value)]
        return value

    def pieces(self, text: str) -> list[str]:
        """The text in pieces to be tokenised one by one, the control texts each in two."""
        if not self._found:
            return [text]
        parts = re.split(f"{self._name}([0-9]+)x", text)
        return [piece for at, part in enumerate(parts) for piece in (self._halves(int(part)) if at % 2 else (part,))]

    def _put_aside(self, found: re.Match[str]) -> str:
        self._found.append(found[0])
        return f"{self._name}{len(self._found) - 1}x"

    def _halves(self, at: int) -> tuple[str, str]:
        return self._found[at][:1], self._found[at][1:]


def _think_markers(profile: Profile) -> Collection[str]:
    return (profile.think.open, profile.think.close) if profile.think is not None else ()


def _control_texts(tokenizer: Tokenizer, profile: Profile, allowed: Collection[str] = ()) -> re.Pattern[str] | None:
    """What the tokenizer or the profile gives a meaning, every added token and every marker, but for those `allowed`."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    # One character cannot be taken apart: newlines that are tokens, or bytes.
    texts = {text for text in (*(str(token.content) for token in added), *profile.markers) if len(text.strip()) > 1}
    texts -= {*allowed}
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def _with_parsed_arguments(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message with its calls' arguments as objects, which is what a template expects that writes them by `tojson`."""
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    parsed = [{**call, "function": {**call["function"], "arguments": _object(call["function"]["arguments"])}} for call in calls]
    return {**message, "tool_calls": parsed} if parsed else message


def _object(arguments: str) -> dict[str, Any]:
    """Of none where it is no object: a model may write anything, and its turn stays a part of the conversation."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] JSON keys are strings


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
