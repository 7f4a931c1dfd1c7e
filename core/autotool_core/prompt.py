"""Renders messages to token ids: the checkpoint's chat template, then the response prefix of the mode.

The prefix is always tokenised by itself, so that a mode has the same ids after any text, here and in training. If the
template itself writes a part of the prefix after its generation prompt, that part is removed and the canonical ids are
put in its place.

What clients, tools and earlier answers say is data: nothing in it ends a turn, opens one in another role or makes a call
(`control_text`). Think markers in the content of an answer stay markers, since some clients send reasoning back in the
content and some templates look for it there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autotool_core.chat_template import ChatTemplate, is_unicode
from autotool_core.control_text import ControlTexts, Placeholders
from autotool_core.decision import PAIR, Readout
from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import Profile
from autotool_core.text_encoder import TextEncoder
from autotool_core.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class DecisionTokens:
    """The tokens of which `auto` decodes one first, and the tokens injected after it to complete the prefix of its mode."""

    long: int
    short: int
    rest: Mapping[ResolvedMode, tuple[int, ...]]
    read: tuple[int, ...] = ()
    """Further tokens whose log-probabilities the decision depends on."""
    readout: Readout = PAIR
    """How the log-odds of long are read from those of `candidates`."""

    @property
    def candidates(self) -> tuple[int, ...]:
        """The tokens that are scored for the decision: that of long, that of short, then those that are only read."""
        return (self.long, self.short, *self.read)


class PromptRenderer:
    """Renders conversations for one checkpoint. `refusals` holds the reason for each mode that it does not support.

    Raises AutoToolError for a decision head of another vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, profile: Profile) -> None:
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        self._profile = profile
        self.template = ChatTemplate(tokenizer, profile.tool_format)
        self._control = ControlTexts(tokenizer, profile)
        reasons = {mode: self._refusal(mode) for mode in Mode}
        self.refusals: dict[Mode, str] = {mode: reason for mode, reason in reasons.items() if reason is not None}
        self.prefix_ids: dict[Mode, tuple[int, ...]] = {mode: self.ids(profile.prefix(mode)) for mode in Mode}
        self.decision_tokens = self._find_decision_tokens()
        self._max_injected = {mode: self._count_injected(mode) for mode in Mode}
        self.marker_ids = {token for marker in profile.markers for token in self._shown_ids(marker)}
        self.efforts = self.template.efforts(profile.template_arguments[Mode.LONG])
        """The values of `reasoning_effort` that the template knows, in rising order."""

    @property
    def can_think(self) -> bool:
        """Whether the model has a think block."""
        return self._profile.think is not None

    def max_injected_tokens(self, mode: Mode) -> int:
        """Return the maximal number of tokens that a turn adds to the context beyond those that the request limits.

        They are the decision token, the tokens that complete the prefix after it, and those that close the think block.
        """
        return self._max_injected[mode]

    def _count_injected(self, mode: Mode) -> int:
        think, decision = self._profile.think, self.decision_tokens
        closing = len(self.ids(f"{think.closing_phrase}{think.closing}")) if think is not None else 0
        deciding = 1 + max(map(len, decision.rest.values())) if mode is Mode.AUTO and decision is not None else 0
        return closing + deciding

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text by itself, without the tokens that begin a sequence."""
        return tuple(self._encoder.encode(text))

    def _shown_ids(self, marker: str) -> Sequence[int]:
        """Return the ids of a marker that detokenising must keep: its only one, or the special ones among several."""
        ids = self.ids(marker)
        return ids if len(ids) == 1 else [token for token in ids if token in self._tokenizer.all_special_ids]

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        mode: Mode,
        *,
        generation_prompt: bool = True,
        arguments: Mapping[str, Any] | None = None,
        check: Callable[[Sequence[str]], None] = lambda pieces: None,
    ) -> list[int]:
        """Return the token ids of the conversation, which end with the response prefix of the mode.

        Without `generation_prompt` they end with the last message. `arguments` are variables for the chat template, beside
        those by which the profile tells it the mode. `check` is called with the texts that are tokenised, each by itself,
        before that, and may raise.

        Raises InvalidRequestError for a mode that the checkpoint does not support, for messages that its template refuses,
        and for arguments with which the template settles the think block in another way than the mode.
        """
        if mode in self.refusals:
            raise InvalidRequestError(f"mode={mode} cannot be served: {self.refusals[mode]}", "mode", code="unsupported_mode")
        hidden = Placeholders()
        try:
            messages = [self._hidden(message, hidden) for message in self.template.messages(messages)]
            tools = hidden.insert([*tools], self._control.everywhere)
            given = hidden.insert(arguments or {}, self._control.everywhere)
            text = self._text(messages, tools, mode, given, generation_prompt=generation_prompt)
        except RecursionError:
            raise InvalidRequestError("The arguments of a tool call in messages are nested too deeply.", "messages") from None
        if not is_unicode(text):
            raise InvalidRequestError("messages hold half of a surrogate pair, which is no character.", "messages")
        if generation_prompt:
            text = self._without_prefix(mode, text, "template_arguments" if arguments else "messages")
        pieces = [*hidden.pieces(text)]
        check(pieces)
        prompt = [token for piece in pieces for token in self._encoder.encode(piece)]
        return [*prompt, *self.prefix_ids[mode]] if generation_prompt else prompt

    def _text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        mode: Mode,
        arguments: Mapping[str, Any],
        *,
        generation_prompt: bool,
    ) -> str:
        of_mode = self._profile.template_arguments[mode]
        try:
            return self.template.text(messages, tools, {**of_mode, **arguments}, generation_prompt=generation_prompt)
        except InvalidRequestError as error:
            if not arguments:
                raise
            self.template.text(messages, tools, of_mode, generation_prompt=generation_prompt)
            # Without the arguments there is a prompt.
            raise InvalidRequestError(str(error).replace("messages", "template arguments"), "template_arguments") from None

    def _hidden(self, message: Mapping[str, Any], placeholders: Placeholders) -> Mapping[str, Any]:
        role = str(message["role"])
        fields = {name: placeholders.insert(value, self._control.of(role, name, value)) for name, value in message.items()}
        return {**fields, "role": role}

    def _without_prefix(self, mode: Mode, text: str, field: str) -> str:
        """Return a prompt without the part of the mode's prefix that the template writes.

        Raises InvalidRequestError, naming `field`, where the template settles the think block in another way.
        """
        think = self._profile.think
        if think is None:
            return text
        before = text.removesuffix(self._overlap(mode, text))
        if before.rstrip().endswith((think.open, think.close)):
            raise InvalidRequestError(f"With these {field.replace('_', ' ')} there is no mode={mode}: {_SETTLED}", field)
        return before

    def _refusal(self, mode: Mode) -> str | None:
        """Return why a mode cannot follow the template's generation prompt, None if it can."""
        think = self._profile.think
        if think is None:
            cannot = f"profile {self._profile.name} is of a model that cannot think. Ask for mode=short."
            return cannot if mode is not Mode.SHORT else None
        if think.prefixes[mode] is None:
            return _NO_PREFIX[mode]
        prompt = self.template.generation_prompt(self._profile.template_arguments[mode])
        before = prompt.removesuffix(self._overlap(mode, prompt))
        settled = think.open in before or think.close in before
        return _SETTLED if settled else None

    def _overlap(self, mode: Mode, prompt: str) -> str:
        """Return the end of a generation prompt with which the mode's prefix begins.

        A template that is told no mode, for `auto`, may have chosen that of another one.
        """
        if self._profile.think is None:
            return ""
        prefixes = self._profile.think.prefixes
        taken = prefixes.values() if mode is Mode.AUTO else (prefixes[mode],)
        return max((_common_end(prompt, prefix or "") for prefix in taken), key=len)

    def _find_decision_tokens(self) -> DecisionTokens | None:
        if reason := next(iter(self.refusals.values()), None):
            self.refusals.setdefault(Mode.AUTO, reason)
            return None
        auto, long, short = (self.prefix_ids[mode] for mode in (Mode.AUTO, Mode.LONG, Mode.SHORT))
        index = len(auto)
        extends = long[:index] == auto == short[:index] and min(len(long), len(short)) > index
        if not extends or long[index] == short[index]:
            self.refusals[Mode.AUTO] = "the tokenizer cannot tell the long and the short prefix apart by one decision token."
            return None
        rest = {ResolvedMode.LONG: long[index + 1 :], ResolvedMode.SHORT: short[index + 1 :]}
        return self._with_head(DecisionTokens(long[index], short[index], rest))

    def _with_head(self, tokens: DecisionTokens) -> DecisionTokens:
        """Return the decision tokens with those that the profile's decision head reads."""
        head = self._profile.decision_head
        if head is None:
            return tokens
        if max(head.tokens) >= len(self._tokenizer):
            raise AutoToolError(
                f"decision_head of profile {self._profile.name} reads token {max(head.tokens)}, and the vocabulary has "
                f"{len(self._tokenizer)}: it was trained for another checkpoint. Train one by `autotool train decide`."
            )
        weights = dict(zip(head.tokens, head.weights, strict=True))
        read = tuple(token for token in head.tokens if token not in (tokens.long, tokens.short))
        readout = Readout(tuple(weights.get(token, 0.0) for token in (tokens.long, tokens.short, *read)), head.intercept)
        return replace(tokens, read=read, readout=readout)


_SETTLED = "the chat template already settles the think block in another way."
_NO_PREFIX: Mapping[Mode, str] = {
    Mode.LONG: "the profile names no prefix for it.",
    Mode.SHORT: "the model always thinks. Ask for mode=long.",
    Mode.AUTO: (
        "the model has no decision token: its long and short prefixes do not part at one. Ask for mode=long or mode=short, or "
        "train a checkpoint that chooses (docs/guides/train.md)."
    ),
}


def _common_end(text: str, prefix: str) -> str:
    """Return the longest end of `text` with which `prefix` begins."""
    return next((prefix[:n] for n in range(len(prefix), 0, -1) if text.endswith(prefix[:n])), "")
