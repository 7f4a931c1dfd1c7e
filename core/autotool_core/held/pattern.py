r"""Regular expressions of JSON Schema (ECMA-262) as grammars of xgrammar.

Only what means the same in ECMA-262 and in Python is read, so that whatever a client validates with agrees: of the classes
`\d`, `\w`, `\s` and their opposites the characters on which both agree.
https://tc39.es/ecma262/#sec-patterns
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autotool_core.held import charset
from autotool_core.held.charset import Ranges
from autotool_core.held.errors import NotHeldError
from autotool_core.held.writing import Writing

MOST_REPETITIONS = 10_000
"""The largest number of repetitions of a quantifier, or product of those that stand inside each other."""
QUANTIFIER = re.compile(r"([*+?]|\{(\d+)(,?)(\d*)\})\??")
HEX_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})")
CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "0": "\0"}


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences."""

    options: Sequence[Sequence["Node"]]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Something several times; `most` is None for any number of times."""

    what: "Node"
    least: int
    most: int | None


Node = Chars | Choice | Repeat
ANYTHING = Chars(charset.complement(()))


@dataclass(frozen=True, slots=True)
class _Set:
    """A class of characters: those that it has for sure, and those that it may have for some readers of the pattern."""

    sure: Ranges
    perhaps: Ranges


def _same(ranges: Ranges) -> _Set:
    return _Set(ranges, ranges)


def _opposite(chars: _Set) -> _Set:
    return _Set(charset.complement(chars.perhaps), charset.complement(chars.sure))


def _known_classes() -> Mapping[str, _Set]:
    digits = _Set(charset.DIGITS, charset.unicode_digits())
    word = _Set(charset.WORD, charset.union([*charset.WORD, (0x80, charset.LAST)]))
    space = _Set(charset.SPACE, charset.PERHAPS_SPACE)
    known = {"d": digits, "w": word, "s": space}
    return known | {letter.upper(): _opposite(chars) for letter, chars in known.items()}


def parse(pattern: str) -> Choice:
    """Return the texts that have a match of a pattern anywhere. Raises NotHeldError for what is not read."""
    try:
        return Choice([*_Reader(pattern).anchored_options()])
    except RecursionError:
        raise NotHeldError("a pattern that is nested too deeply") from None


def write(node: Node, writing: Writing) -> str:
    """Return the grammar of a node."""
    match node:
        case Chars(ranges):
            return writing.anything if node == ANYTHING else writing.chars(ranges)
        case Repeat(what, least, most):
            return f"({write(what, writing)}){{{least},{'' if most is None else most}}}"
        case Choice(options):
            return f"({' | '.join(write_sequence(option, writing) for option in options)})"


def write_sequence(nodes: Sequence[Node], writing: Writing) -> str:
    """Return the grammar of some nodes one after another."""
    return " ".join(write(node, writing) for node in nodes) or '""'


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def anchored_options(self) -> Iterator[Sequence[Node]]:
        """Yield the options of the whole pattern, each with what may stand around its match."""
        anywhere = Repeat(ANYTHING, 0, None)
        while True:
            before = [] if self._take("^") else [anywhere]
            nodes = self._sequence()
            after = [] if self._take("$") else [anywhere]
            yield [*before, *nodes, *after]
            if not self._take("|"):
                break
        if self._at < len(self._pattern):
            raise NotHeldError("an anchor or a bracket inside of pattern")

    def _options(self) -> Iterator[Sequence[Node]]:
        yield self._sequence()
        while self._take("|"):
            yield self._sequence()

    def _sequence(self) -> Sequence[Node]:
        nodes: list[Node] = []
        while self._next not in ("", "|", ")", "$", "^"):
            nodes.append(self._quantified(self._atom()))
        return nodes

    def _quantified(self, node: Node) -> Node:
        match = QUANTIFIER.match(self._pattern, self._at)
        if match is None:
            return node
        self._at = match.end()
        sign, least, comma, most = match.groups()
        if least is None:
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            return _repeat(node, least, most)
        return _repeat(node, _count(least), (_count(most) if most else None) if comma else _count(least))

    def _atom(self) -> Node:
        char = self._next
        if char == "(":
            return self._group()
        if char == "[":
            return _chars(self._class())
        if char == "\\":
            return _chars(self._escape())
        if char in "*+?{":
            raise NotHeldError("a quantifier without anything to repeat in pattern")
        self._at += 1
        return Chars(charset.ANY_BUT_LINE_ENDS if char == "." else _char(char))

    def _group(self) -> Node:
        self._at += 1
        if not self._take("?:") and self._next == "?":
            raise NotHeldError("a look-around or a named group in pattern")
        options = [*self._options()]
        if not self._take(")"):
            raise NotHeldError("an anchor or an open bracket inside of pattern")
        return Choice(options)

    def _class(self) -> _Set:
        self._at += 1
        negated, items = self._take("^"), list[_Set]()
        if self._next == "]":
            raise NotHeldError("[] or [^] in pattern")
        while not self._take("]"):
            items.append(self._class_item())
        found = _Set(*(charset.union(pair for item in items for pair in part(item)) for part in (_sure, _perhaps)))
        return _opposite(found) if negated else found

    def _class_item(self) -> _Set:
        first = self._class_char()
        if self._next != "-" or self._pattern[self._at + 1 : self._at + 2] in ("]", ""):
            return first
        self._at += 1
        last = self._class_char()
        bounds = (*first.sure, *last.sure)
        if any(start != end for start, end in bounds) or len(bounds) != 2 or bounds[0] > bounds[1]:
            raise NotHeldError("a range without two characters in order in pattern")
        return _same(((bounds[0][0], bounds[1][0]),))

    def _class_char(self) -> _Set:
        if self._next == "":
            raise NotHeldError("an open bracket in pattern")
        if self._next == "\\":
            return self._escape(in_class=True)
        char = self._next
        self._at += 1
        return _same(_char(char))

    def _escape(self, *, in_class: bool = False) -> _Set:
        if match := HEX_ESCAPE.match(self._pattern, self._at):
            self._at = match.end()
            return _same(_char(chr(int(match[1] or match[2], 16))))
        letter = self._pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if letter in (known := _known_classes()):
            return known[letter]
        if in_class and letter == "b":
            return _same(charset.of("\b"))
        if letter in CONTROLS and not (letter == "0" and self._next.isdigit()):
            return _same(charset.of(CONTROLS[letter]))
        if not letter or letter.isalnum() or not letter.isascii():
            raise NotHeldError(f"\\{letter} in pattern")
        return _same(charset.of(letter))

    @property
    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) * found
        return found


def _sure(chars: _Set) -> Ranges:
    return chars.sure


def _perhaps(chars: _Set) -> Ranges:
    return chars.perhaps


def _chars(chars: _Set) -> Chars:
    if not chars.sure:
        raise NotHeldError("a class without characters in pattern")
    return Chars(chars.sure)


def _char(char: str) -> Ranges:
    if charset.SURROGATES[0] <= ord(char) <= charset.SURROGATES[1]:
        raise NotHeldError("half of a surrogate pair in pattern")
    return charset.of(char)


def _count(digits: str) -> int:
    return int(digits) if len(digits) < 9 else MOST_REPETITIONS + 1


def _repeat(node: Node, least: int, most: int | None) -> Repeat:
    if (least if most is None else most) < least:
        raise NotHeldError("a quantifier whose numbers are not in order in pattern")
    repeat = Repeat(node, least, most)
    if _repetitions(repeat) > MOST_REPETITIONS:
        raise NotHeldError(f"more than {MOST_REPETITIONS} repetitions in pattern")
    return repeat


def _repetitions(node: Node) -> int:
    match node:
        case Chars():
            return 1
        case Repeat(what, least, most):
            return max(least, most or 0, 1) * _repetitions(what)
        case Choice(options):
            return max((_repetitions(node) for option in options for node in option), default=1)
