"""Finds the span of a text that expresses a value: literally, or as a number, a date, a time or a boolean."""

import re
from collections.abc import Iterator
from typing import Any

NUMERAL = re.compile(r"[+-]?\d+(?:\.\d+)?")
_NOUN = r"(?!(?:was|has|is|as|this|its|plus|across)\b)[a-z]+s\b"
# The number is not part of a date, a time, an address or an identifier. A unit such as km or nights may follow.
FIGURE_NUMBER = re.compile(
    r"(?<![\w.:/-])[$€£]?(?P<number>[+-]?\d+(?:,\d{3})*(?:\.\d+)?)(?![\d:/]|[.,-]\d)"
    r"(?:\s?(?P<scale>k|thousand|million|billion|%|percent)(?!\w))?"
    rf"(?:[\s-]?{_NOUN}|[a-z°]{{0,3}}(?!\w))",
    re.IGNORECASE,
)
UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS = {
    **{word: number for number, word in enumerate((*UNITS, *TEENS))},
    **{word: 10 * number for number, word in enumerate(TENS, 2)},
}
SCALES = {"dozen": 12, "hundred": 100, "k": 1e3, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_NUMBER_WORD = f"(?:{'|'.join((*NUMBER_WORDS, *SCALES))})"
WRITTEN_NUMBER = re.compile(
    rf"\b{_NUMBER_WORD}(?:(?:\s|-|\sand\s){_NUMBER_WORD})*\b(?!\W(?:way|of)\b)(?:\s{_NOUN})?", re.IGNORECASE
)
NUMBER_WORD = re.compile(rf"\b{_NUMBER_WORD}\b")

# `calendar` is not used because its names depend on the locale.
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september"]
MONTHS += ["october", "november", "december"]
_MONTH = f"(?P<month>{'|'.join((*MONTHS, *(month[:3] for month in MONTHS)))})"
_DAY = r"(?P<day>\d{1,2})"
_YEAR = r"(?P<year>\d{4})"
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_MONTH}\.?\s(?:the\s)?{_DAY}(?:st|nd|rd|th)?\b(?:,?\s{_YEAR}\b)?",
        rf"\b{_DAY}(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}\b(?:\.?,?\s{_YEAR}\b)?",
        rf"\b{_YEAR}[-/.](?P<month>\d{{1,2}})[-/.]{_DAY}\b",
        rf"\b(?P<month>\d{{1,2}})[-/.]{_DAY}[-/.]{_YEAR}\b",
        rf"\b{_DAY}[-/.](?P<month>\d{{1,2}})[-/.]{_YEAR}\b",
    )
)
TIME = re.compile(r"\b(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::00)?(?:\s?(?P<meridiem>[ap])\.?m\b)?", re.IGNORECASE)

WORD_LINK = r"[\W_]{1,4}(?:(?:and|or|to)\W{1,2})?"
"""A pattern of the text between two words of a value."""
NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
NEGATION = r"(?P<denial>(?:\b(?:no|not|without|never)\b|n\Wt\b)(?:[^\w.]+\w+){0,2}?[^\w.]+)?"
GENERIC_WORDS = frozenset(
    ("include", "enable", "use", "with", "only", "show", "get", "has", "have", "are", "the", "for", "yes")
)
"""Words of a parameter's name that do not describe its subject."""
STOPWORDS = frozenset(
    ("a", "an", "as", "at", "be", "by", "do", "i", "in", "is", "it", "me", "no", "of", "on", "or", "to", "us")
)
"""Values that are common words of any text. Only their quoted occurrences count."""


def find_span(value: Any, text: str, name: str) -> str | None:
    """Return the span of the text that expresses the value of the parameter `name`, or None."""
    if isinstance(value, bool):
        return _boolean_span(value, text, name)
    if isinstance(value, int | float) or (isinstance(value, str) and NUMERAL.fullmatch(value.strip())):
        number = float(value) if isinstance(value, str) else value
        # A long number may be part of something else, such as a year in a date. A short one would match by chance.
        return _number_span(number, text, name) or (_literal_span(str(value), text) if len(str(value)) > 3 else None)
    return (
        (_literal_span(value, text) or _date_span(value, text) or _time_span(value, text)) if isinstance(value, str) else None
    )


def mentions(text: str, value: str) -> bool:
    """Return whether the text contains the value, regardless of case, punctuation and singular or plural."""
    return _literal_span(value, text) is not None


def _literal_span(value: str, text: str) -> str | None:
    exact_pattern, parts = re.escape(value.strip()), re.findall(r"[^\W_]+", value)
    if value.lower() in STOPWORDS:
        exact_pattern, parts = rf"(?<=['\"]){exact_pattern}(?=['\"])", []
    if parts and len(parts[-1]) > 4:
        parts[-1] = parts[-1].removesuffix("s")
    loose_pattern = WORD_LINK.join(map(re.escape, parts)) + "(?:e?s)?" if parts else ""
    return next(
        (match[0] for pattern in (exact_pattern, loose_pattern) if pattern and (match := _whole_word(pattern).search(text))),
        None,
    )


def _whole_word(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)


def _boolean_span(value: bool, text: str, name: str) -> str | None:
    """Return the span about the subject of a boolean. False needs a negation before the subject, True needs none."""
    parts = _name_words(name)
    for subject in (WORD_LINK.join(parts), *(part for part in parts if part not in GENERIC_WORDS)):
        match = re.search(rf"{NEGATION}\b{subject}\w*", text, re.IGNORECASE) if subject else None
        if match and (match["denial"] is None) == value:
            return match[0]
    return None


def _number_span(value: float, text: str, name: str) -> str | None:
    """Return the span of the number, preferably one next to a word of the parameter's name, as in 3 rooms."""
    spans = [_with_noun(match, name) for number, match in numbers(text) if number == value]
    return max(spans, key=lambda span: any(part in span.lower() for part in _name_words(name)), default=None)


def numbers(text: str) -> Iterator[tuple[float, re.Match[str]]]:
    """Yield the numbers in the text, in figures or words, and their matches. A percentage gives its figure, then a fraction."""
    for match in FIGURE_NUMBER.finditer(text):
        number, scale = float(match["number"].replace(",", "")), (match["scale"] or "").lower()
        yield number * SCALES.get(scale, 1), match
        if scale in ("%", "percent"):
            yield round(number / 100, 12), match
    for match in WRITTEN_NUMBER.finditer(text):
        yield _written_number(NUMBER_WORD.findall(match[0].lower())), match


def _with_noun(number: re.Match[str], name: str) -> str:
    """Return the number with the following word, if that is part of the parameter's name."""
    after = re.compile(r"[\s-]([a-z]{3,})", re.IGNORECASE).match(number.string, number.end())
    return number[0] + (after[0] if after and any(after[1].lower().startswith(part) for part in _name_words(name)) else "")


def _written_number(words: list[str]) -> float:
    """Return the value of a number in words, such as two hundred fifty thousand."""
    total = current = 0.0
    for word in words:
        if word in NUMBER_WORDS:
            current += NUMBER_WORDS[word]
        elif (scale := SCALES[word]) <= 100:
            current = max(current, 1) * scale
        else:
            total, current = total + max(current, 1) * scale, 0.0
    return total + current


def _date_span(value: str, text: str) -> str | None:
    """Return the span of the date. A date without a year matches every year."""
    values = [parsed for parsed, span in dates(value) if span == value.strip()]
    for (year, month, day), span in dates(text):
        if any((month, day) == (m, d) and year in (y, None) for y, m, d in values):
            return span
    return None


def dates(text: str) -> Iterator[tuple[tuple[int | None, int, int], str]]:
    """Yield the dates in the text as (year, month, day), with their spans."""
    for pattern in DATES:
        for match in pattern.finditer(text):
            month, year = match["month"].lower(), match["year"]
            number = int(month) if month.isdecimal() else 1 + [month_name[:3] for month_name in MONTHS].index(month[:3])
            yield (int(year) if year else None, number, int(match["day"])), match[0]


def _time_span(value: str, text: str) -> str | None:
    """Return the span of the time. A time without am or pm matches both."""
    values = [parsed for parsed, span in _times(value) if span == value.strip()]
    for (hour, minute, meridiem), span in _times(text):
        if any(minute == m and (hour == h or (not meridiem and hour % 12 == h % 12)) for h, m, _ in values):
            return span
    return None


def _times(text: str) -> Iterator[tuple[tuple[int, int, str], str]]:
    for match in TIME.finditer(text):
        meridiem = (match["meridiem"] or "").lower()
        if match["minute"] or meridiem:
            hour = int(match["hour"]) % 12 + 12 * (meridiem == "p") if meridiem else int(match["hour"])
            yield (hour, int(match["minute"] or 0), meridiem), match[0]


def _name_words(name: str) -> list[str]:
    """Return the words of a name in camel case or snake case, in lower case and singular, without short ones."""
    return [
        part.lower().removesuffix("s") if len(part) > 3 else part.lower() for part in NAME_PART.findall(name) if len(part) > 2
    ]
