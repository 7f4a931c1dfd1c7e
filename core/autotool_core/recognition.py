"""Recognises a checkpoint's profile from its chat template: its think block, its modes and its tool-call format.

The template is asked, not only searched: what it writes after a question for each mode shows how the family brings the mode
about, and what it writes for earlier reasoning shows the whitespace around the block's markers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autotool_core import tool_formats
from autotool_core.chat_template import ChatTemplate, common_beginning
from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import TEMPLATE_ARGUMENTS, Profile, ThinkFormat
from autotool_core.tokenizer import Tokenizer

MARKERS = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("Here is my thought process:", "Here is my response:"),
)
"""The markers of think blocks: of most families, Seed-OSS, Magistral, Command A, Gemma 4 and Granite 3.2."""

HARMONY = ThinkFormat(
    open="<|channel|>analysis<|message|>",
    close="<|end|>",
    reopen=("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>"),
    long_prefix="<|channel|>analysis<|message|>",
    short_prefix="<|channel|>analysis<|message|><|end|>",
    auto_prefix=None,
    answer_separator="",
)
"""The channels of gpt-oss (https://developers.openai.com/cookbook/articles/openai-harmony)."""


@dataclass(frozen=True)
class Recognition:
    """A profile, and the reasons for it as sentences."""

    profile: Profile
    reasons: Sequence[str] = field(default_factory=tuple[str, ...])


def recognise(tokenizer: Tokenizer) -> Recognition:
    """Return the profile that fits a tokenizer's chat template. Raises AutoToolError if it has none."""
    source = str(tokenizer.chat_template or "")
    tool_format = tool_formats.recognise(source)
    template = ChatTemplate(tokenizer, tool_format)
    think, reason = _think(template, source)
    named = f"The chat template writes calls as the format {tool_format.name} has them."
    if not tool_format.matches(source):
        named = f"The chat template shows no known tool-call format, so it is taken for {tool_format.name}."
    return Recognition(Profile(name="from the chat template", think=think, tool_format=tool_format), (reason, named))


def prompt_before_block(template: ChatTemplate, opening: str, closing: str) -> str:
    """Return the part of a template's generation prompt that stands before the think block, whatever the mode."""
    prompts = [template.generation_prompt(arguments) for arguments in TEMPLATE_ARGUMENTS.values()]
    return common_beginning(*(prompt[: _first_marker(prompt, opening, closing)] for prompt in prompts))


def _first_marker(text: str, *markers: str) -> int:
    return min((at for marker in markers if (at := text.find(marker)) >= 0), default=len(text))


def _think(template: ChatTemplate, source: str) -> tuple[ThinkFormat | None, str]:
    if HARMONY.open in source:
        return HARMONY, "The chat template writes the channels of gpt-oss, whose analysis channel is the think block."
    for opening, closing in MARKERS:
        if opening.removesuffix("thought\n") in source:
            shape = _Shape(template, opening, closing)
            return shape.think, f"The chat template has the think markers {opening.strip()} and {closing}; {shape.reason}"
    return None, "The chat template has no think markers, so the model cannot think."


class _Shape:
    """Finds how a template with these think markers brings the modes about: `think` and the `reason` for it."""

    def __init__(self, template: ChatTemplate, opening: str, closing: str) -> None:
        self._template = template
        self._open, self._close = opening, closing
        self._lead, self._trail, self._separator = self._whitespace()
        self.think, self.reason = self._find()

    def _find(self) -> tuple[ThinkFormat | None, str]:
        long, short, _ = written = self._written()
        if len({*written}) > 1:
            return self._switched(long, short), "what it writes after a question depends on the mode."
        if self._close in short:
            return None, "it closes the block in every mode, so the model cannot think."
        if self._open in short:
            return self._format(long, None, None), "it opens the block in every mode, so the model always thinks."
        if self._asks():
            return self._format(self._open, "", None), "its arguments ask the model to think or not to."
        short = f"{self._open}{self._lead}{self._trail}{self._close}{self._separator}"
        return self._chosen(f"{self._open}{self._lead}", short), "it leaves the block to the model in every mode."

    def _written(self) -> list[str]:
        """Return what the template writes of the block after a question for long, short and auto."""
        prompts = [self._template.generation_prompt(TEMPLATE_ARGUMENTS[mode]) for mode in (Mode.LONG, Mode.SHORT, Mode.AUTO)]
        head = prompt_before_block(self._template, self._open, self._close)
        return [prompt[len(head) :] for prompt in prompts]

    def _switched(self, long: str, short: str) -> ThinkFormat:
        if self._close not in short:
            short = f"{self._open}{self._lead}{self._trail}{self._close}{self._separator}"
        if self._open not in long:
            before, _, behind = short.partition(self._open)
            long = f"{before}{self._open}{self._lead if behind.startswith(self._lead) else ''}"
        return self._chosen(long, short)

    def _chosen(self, long: str, short: str) -> ThinkFormat:
        """Return the format with the prefix of auto: up to where the other two part, if each goes on from there."""
        auto: str | None = long[: long.find(self._open) + len(self._open)]
        if not short.startswith(auto):
            auto = common_beginning(*(text[: _first_marker(text, self._open, self._close)] for text in (long, short)))
        return self._format(long, short, auto if long != auto else None)

    def _format(self, long: str, short: str | None, auto: str | None) -> ThinkFormat:
        return ThinkFormat(
            open=self._open.strip(),
            close=self._close,
            long_prefix=long,
            short_prefix=short,
            auto_prefix=auto,
            answer_separator=self._separator,
        )

    def _asks(self) -> bool:
        """Return whether the arguments of long and short change the prompt before the answer."""
        question = [{"role": "user", "content": "?"}]
        prompts = {self._template.text(question, (), TEMPLATE_ARGUMENTS[mode]) for mode in (Mode.LONG, Mode.SHORT)}
        return len(prompts) > 1

    def _whitespace(self) -> tuple[str, str, str]:
        """Return the text behind the opening marker, before the closing one and before the answer, as in earlier turns."""
        thought = dict.fromkeys(("reasoning", "reasoning_content", "thinking"), "REASONING")
        answer: Mapping[str, Any] = {"role": "assistant", "content": "ANSWER", **thought}
        try:
            text = self._template.text([{"role": "user", "content": "?"}, answer], generation_prompt=False)
        except InvalidRequestError:
            text = ""
        lead, found, rest = text.partition(self._open)[2].partition("REASONING")
        trail, closed, rest = rest.partition(self._close)
        separator, answered, _ = rest.partition("ANSWER")
        parts = (lead, trail, separator)
        if found and closed and answered and not any(part.strip() for part in parts):
            return parts
        return ("\n", "\n", "\n\n") if self._open == "<think>" else ("", "", "")
