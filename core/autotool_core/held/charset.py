"""Sets of characters, as sorted ranges of code points."""

from collections.abc import Iterable, Iterator
from functools import cache

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, both ends included. Surrogates, which no text has, are in none."""

LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the set of all characters of some ranges, which may overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Return all characters that a set lacks."""
    return tuple(_gaps(union([*ranges, SURROGATES])))


def _gaps(ranges: Ranges) -> Iterator[tuple[int, int]]:
    start = 0
    for first, last in ranges:
        if first > start:
            yield start, first - 1
        start = last + 1
    if start <= LAST:
        yield start, LAST


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """Return the characters of a set that the others lack."""
    return complement(union([*complement(ranges), *others]))


def of(text: str) -> Ranges:
    """Return the characters of a text."""
    return union((ord(char), ord(char)) for char in text)


def contains(ranges: Ranges, char: str) -> bool:
    """Return whether a character is in a set."""
    return any(first <= ord(char) <= last for first, last in ranges)


DIGITS = ((ord("0"), ord("9")),)
WORD = union([*DIGITS, (ord("A"), ord("Z")), (ord("_"), ord("_")), (ord("a"), ord("z"))])
SPACE = union([(9, 13), *of(" \u00a0\u1680\u2028\u2029\u202f\u205f\u3000"), (0x2000, 0x200A)])
"""What both ECMA-262 and Python call white space."""
PERHAPS_SPACE = union([*SPACE, (0x1C, 0x1F), *of("\x85\ufeff")])
ANY_BUT_LINE_ENDS = complement(of("\n\r\u2028\u2029"))


@cache
def unicode_digits() -> Ranges:
    """Return the decimal digits of all scripts, which Python counts among digits."""
    return union((code, code) for code in range(0x20000) if chr(code).isdecimal())
