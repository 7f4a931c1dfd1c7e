"""How the text of a string is written in a grammar (xgrammar's EBNF): inside JSON's quotes, or as it is."""

from functools import lru_cache

from autotool_core.held import charset
from autotool_core.held.charset import Ranges

SHORT_ESCAPES = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
ESCAPED = charset.union([(0, 0x1F), *charset.of('"\\')])
"""What JSON's strings cannot have as it is."""
HEX = "[0-9a-fA-F]"
ESCAPE = (
    r'"\\" ([\"\\/bfnrt] | "u" ('
    f"[0-9a-cA-CefEF] {HEX} {HEX} {HEX} | [dD] [0-7] {HEX} {HEX}"
    rf' | [dD] [89abAB] {HEX} {HEX} "\\u" [dD] [c-fC-F] {HEX} {HEX}))'
)
"""Any escape in a JSON string; a surrogate pair is one, and half of one is none."""


class JsonText:
    """Strings inside the quotes of JSON. Each character has one spelling, except those of `anything`."""

    suffix = "json"

    @property
    def anything(self) -> str:
        """The grammar of one character of any kind."""
        return f"({_class(charset.complement(ESCAPED))} | {ESCAPE})"

    def chars(self, ranges: Ranges) -> str:
        """Return the grammar of one character of a set."""
        return _json_chars(ranges)


class RawText:
    """Strings that stand between tags as they are."""

    suffix = "raw"

    @property
    def anything(self) -> str:
        """The grammar of one character of any kind."""
        return self.chars(charset.complement(()))

    def chars(self, ranges: Ranges) -> str:
        """Return the grammar of one character of a set: of several, none that may begin the tag at which the text ends."""
        return _raw_chars(ranges)


Writing = JsonText | RawText
WRITINGS: tuple[Writing, ...] = (JsonText(), RawText())


def text(value: str, writing: Writing) -> str:
    """Return the grammar of one text."""
    return " ".join(writing.chars(charset.of(char)) for char in value) or '""'


@lru_cache(maxsize=4096)  # long patterns have few different characters
def _json_chars(ranges: Ranges) -> str:
    plain = charset.without(ranges, ESCAPED)
    options = [_class(plain)] if plain else []
    for char, letter in SHORT_ESCAPES.items():
        if charset.contains(ranges, char):
            options.append(_literal(f"\\{letter}"))
    controls = [code for code in range(0x20) if chr(code) not in SHORT_ESCAPES and charset.contains(ranges, chr(code))]
    options += [_literal(f"\\u{code:04x}") for code in controls]
    return f"({' | '.join(options)})"


@lru_cache(maxsize=4096)
def _raw_chars(ranges: Ranges) -> str:
    return _class(charset.without(ranges, charset.of("<")) or ranges)


def _class(ranges: Ranges) -> str:
    return f"[{''.join(_code(first) + (f'-{_code(last)}' if last > first else '') for first, last in ranges)}]"


def _code(code: int) -> str:
    return f"\\U{code:08x}"  # an escape of fewer digits takes what follows it for one more


def _literal(value: str) -> str:
    """Return the grammar of a text of ASCII without control characters."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
