"""The words of a text that say a value: as it stands, or as a number, a date, a time, or a yes or no that they mean."""

import re
from collections.abc import Iterator
from typing import Any

NUMERAL = re.compile(r"[+-]?\d+(?:\.\d+)?")
_NOUN = r"(?!(?:was|has|is|as|this|its|plus|across)\b)[a-z]+s\b"
# No part of a date, a time, an address or an identifier; a unit may follow, such as km or nights.
DIGITS = re.compile(
    r"(?<![\w.:/-])[$€£]?(?P<number>[+-]?\d+(?:,\d{3})*(?:\.\d+)?)(?![\d:/]|[.,-]\d)"
    r"(?:\s?(?P<scale>k|thousand|million|billion|%|percent)(?!\w))?"
    rf"(?:[\s-]?{_NOUN}|[a-z°]{{0,3}}(?!\w))",
    re.IGNORECASE,
)
UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
COUNTED = {
    **{word: number for number, word in enumerate((*UNITS, *TEENS))},
    **{word: 10 * number for number, word in enumerate(TENS, 2)},
}
SCALES = {"dozen": 12, "hundred": 100, "k": 1e3, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_COUNT = f"(?:{'|'.join((*COUNTED, *SCALES))})"
WORDED = re.compile(rf"\b{_COUNT}(?:(?:\s|-|\sand\s){_COUNT})*\b(?!\W(?:way|of)\b)(?:\s{_NOUN})?", re.IGNORECASE)
COUNT = re.compile(rf"\b{_COUNT}\b")

# Not of `calendar`, whose names follow the locale.
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
TIME = re.compile(r"\b(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::00)?(?:\s?(?P<half>[ap])\.?m\b)?", re.IGNORECASE)

LINK = r"[\W_]{1,4}(?:(?:and|or|to)\W{1,2})?"
"""What may stand between two words of a value."""
PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
DENIAL = r"(?P<denial>(?:\b(?:no|not|without|never)\b|n\Wt\b)(?:[^\w.]+\w+){0,2}?[^\w.]+)?"
VAGUE = frozenset(("include", "enable", "use", "with", "only", "show", "get", "has", "have", "are", "the", "for", "yes"))
"""Words of a parameter's name that do not tell what it is about."""
LITTLE = frozenset(("a", "an", "as", "at", "be", "by", "do", "i", "in", "is", "it", "me", "no", "of", "on", "or", "to", "us"))
"""Values that are words of any text: they say the value in quotes only."""


def span(value: Any, text: str, name: str) -> str | None:
    """The words of the text that say the value of the parameter of this name; None where none do."""
    if isinstance(value, bool):
        return _told(value, text, name)
    if isinstance(value, int | float) or (isinstance(value, str) and NUMERAL.fullmatch(value.strip())):
        number = float(value) if isinstance(value, str) else value
        # A long number may stand within something else, as a year in a date; a short one does so by chance.
        return _number(number, text, name) or (_literal(str(value), text) if len(str(value)) > 3 else None)
    return (_literal(value, text) or _date(value, text) or _time(value, text)) if isinstance(value, str) else None


def mentions(text: str, value: str) -> bool:
    """Whether the value stands in the text, in whatever case, punctuation and number."""
    return _literal(value, text) is not None


def _literal(value: str, text: str) -> str | None:
    whole, parts = re.escape(value.strip()), re.findall(r"[^\W_]+", value)
    if value.lower() in LITTLE:
        whole, parts = rf"(?<=['\"]){whole}(?=['\"])", []
    if parts and len(parts[-1]) > 4:
        parts[-1] = parts[-1].removesuffix("s")
    loose = LINK.join(map(re.escape, parts)) + "(?:e?s)?" if parts else ""
    return next((found[0] for one in (whole, loose) if one and (found := _alone(one).search(text))), None)


def _alone(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)


def _told(value: bool, text: str, name: str) -> str | None:
    """Where the text speaks of what a yes or no is about; a no has to be said."""
    parts = _parts(name)
    for about in (LINK.join(parts), *(part for part in parts if part not in VAGUE)):
        found = re.search(rf"{DENIAL}\b{about}\w*", text, re.IGNORECASE) if about else None
        if found and (found["denial"] is None) == value:
            return found[0]
    return None


def _number(value: float, text: str, name: str) -> str | None:
    """Where the text has the number; of several places one beside a word of the parameter's name, as in 3 rooms."""
    spans = [_with_noun(found, name) for number, found in numbers(text) if number == value]
    return max(spans, key=lambda span: any(part in span.lower() for part in _parts(name)), default=None)


def numbers(text: str) -> Iterator[tuple[float, re.Match[str]]]:
    """The numbers that the text has, in figures or words, and where; one in percent as it stands and then as a fraction."""
    for found in DIGITS.finditer(text):
        number, scale = float(found["number"].replace(",", "")), (found["scale"] or "").lower()
        yield number * SCALES.get(scale, 1), found
        if scale in ("%", "percent"):
            yield round(number / 100, 12), found
    for found in WORDED.finditer(text):
        yield _count(COUNT.findall(found[0].lower())), found


def _with_noun(number: re.Match[str], name: str) -> str:
    """The number, and the word after it where that is of the parameter's name."""
    after = re.compile(r"[\s-]([a-z]{3,})", re.IGNORECASE).match(number.string, number.end())
    return number[0] + (after[0] if after and any(after[1].lower().startswith(part) for part in _parts(name)) else "")


def _count(words: list[str]) -> float:
    """The number that the words write out, as in two hundred fifty thousand."""
    total = current = 0.0
    for word in words:
        if word in COUNTED:
            current += COUNTED[word]
        elif (scale := SCALES[word]) <= 100:
            current = max(current, 1) * scale
        else:
            total, current = total + max(current, 1) * scale, 0.0
    return total + current


def _date(value: str, text: str) -> str | None:
    """Where the text has the date; one without a year is of any."""
    wanted = [one for one, span in dates(value) if span == value.strip()]
    for (year, month, day), span in dates(text):
        if any((month, day) == (m, d) and year in (y, None) for y, m, d in wanted):
            return span
    return None


def dates(text: str) -> Iterator[tuple[tuple[int | None, int, int], str]]:
    """The dates that the text has (year, month, day), and where."""
    for pattern in DATES:
        for found in pattern.finditer(text):
            month, year = found["month"].lower(), found["year"]
            number = int(month) if month.isdecimal() else 1 + [one[:3] for one in MONTHS].index(month[:3])
            yield (int(year) if year else None, number, int(found["day"])), found[0]


def _time(value: str, text: str) -> str | None:
    """Where the text has the time; one without its half of the day is of either."""
    wanted = [one for one, span in _times(value) if span == value.strip()]
    for (hour, minute, half), span in _times(text):
        if any(minute == m and (hour == h or (not half and hour % 12 == h % 12)) for h, m, _ in wanted):
            return span
    return None


def _times(text: str) -> Iterator[tuple[tuple[int, int, str], str]]:
    for found in TIME.finditer(text):
        half = (found["half"] or "").lower()
        if found["minute"] or half:
            hour = int(found["hour"]) % 12 + 12 * (half == "p") if half else int(found["hour"])
            yield (hour, int(found["minute"] or 0), half), found[0]


def _parts(name: str) -> list[str]:
    """The words of a name in camel case or snake case, in lower case and singular; short ones tell nothing."""
    return [part.lower().removesuffix("s") if len(part) > 3 else part.lower() for part in PART.findall(name) if len(part) > 2]
