"""The strings of a schema that xgrammar does not hold by itself: each has a mark in the schema and rules for the grammar.

Xgrammar 0.2.8 lets raw control characters into strings of a bounded length and into those of some patterns, forbids escapes
there, and writes the characters of a pattern into the JSON without the backslash that some of them need.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from autotool_core.held import charset, pattern
from autotool_core.held.errors import NotHeldError
from autotool_core.held.writing import ESCAPED, SHORT_ESCAPES, RawText, Writing, text

Rules = Callable[[str, Writing], Sequence[str]]
"""Returns the rules of a text's grammar: the one of the given name, and those that it names."""
MOST_NAMES = 4000
"""Characters of all listed names, where others are free: each needs a rule."""
RAW_NAME = charset.union([*charset.WORD, *charset.of("-")])
"""The characters of a parameter's name between tags, where the schema does not list it."""
FREE_NAME = charset.union([*charset.complement(ESCAPED), *charset.of("".join(SHORT_ESCAPES))])
"""The characters of a name between quotes, where the schema does not list it."""


class Texts:
    """Gives marks to texts, and keeps the rules of each."""

    def __init__(self) -> None:
        self._marks: dict[Hashable, str] = {}
        self.rules: dict[str, Rules] = {}
        """The rules of each text, by its mark."""

    def of_lengths(self, least: int, most: int | None) -> str:
        """Return the mark of the texts with a number of characters."""
        count = f"{{{least},{'' if most is None else most}}}"
        return self._mark((least, most), lambda name, writing: [f"{name} ::= ({writing.anything}){count}"])

    def of_pattern(self, expression: str) -> str:
        """Return the mark of the texts that a pattern matches. Raises NotHeldError."""
        parsed = pattern.parse(expression)
        return self._mark(expression, lambda name, writing: [f"{name} ::= {pattern.write(parsed, writing)}"])

    def among(self, values: Sequence[str]) -> str:
        """Return the mark of some texts."""
        return self._mark(
            ("among", *values), lambda name, writing: [f"{name} ::= {' | '.join(text(value, writing) for value in values)}"]
        )

    def other_than(self, names: Sequence[str]) -> str:
        """Return the mark of all texts but some names. Raises NotHeldError for too many."""
        if sum(map(len, names)) > MOST_NAMES:
            raise NotHeldError("free names beside properties whose names are so long")
        return self._mark(("other than", *names), lambda name, writing: _other_rules(name, writing, (*names,)))

    def _mark(self, key: Hashable, rules: Rules) -> str:
        mark = self._marks.setdefault(key, f"held{len(self._marks)}x")
        self.rules.setdefault(mark, rules)
        return mark


def marked(mark: str) -> Mapping[str, Any]:
    """Return the schema of the strings that have a mark."""
    return {"type": "string", "pattern": as_pattern(mark)}


def as_pattern(mark: str) -> str:
    """Return the pattern that stands for a mark."""
    return f"^{mark}$"


@lru_cache(maxsize=256)  # the turns of a conversation bring the same tools
def _other_rules(rule: str, writing: Writing, names: tuple[str, ...]) -> list[str]:
    """Return a rule for each beginning of a name: what follows must differ from all names that begin so.

    Each character has one spelling here, so that no name can be spelled in another way.
    """
    every = RAW_NAME if isinstance(writing, RawText) else FREE_NAME
    is_empty_free = "" not in names and not isinstance(writing, RawText)
    beginnings = dict.fromkeys(name[:length] for name in ("", *names) for length in range(len(name) + 1))
    numbers = {beginning: f"{rule}_{number}" if number else rule for number, beginning in enumerate(beginnings)}
    following: dict[str, list[str]] = {beginning: [] for beginning in numbers}
    for later in filter(None, numbers):
        following[later[:-1]].append(later)
    rules = [f"{rule}_rest ::= ({writing.chars(every)})*"]  # xgrammar finds rules by name, in any order
    for beginning, name in numbers.items():
        next_chars = charset.of("".join(later[-1] for later in following[beginning]))
        options = [f"{text(later[-1], writing)} {numbers[later]}" for later in following[beginning]]
        options.append(f"{writing.chars(charset.without(every, next_chars))} {rule}_rest")
        options += ['""'] if (is_empty_free if not beginning else beginning not in names) else []
        rules.append(f"{name} ::= {' | '.join(options)}")
    return rules
