"""Draws values of parameters from the examples in their descriptions, or by the kind of their names."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from random import Random
from typing import Any

from autotool_training.data.synthetic.kinds import PEOPLE, Category, name_in_words, param_kind, table_entries

RANGES = (  # The ranges of numbers without examples, by name.
    (r"^(years|months|weeks|limit)$|\bcopies$|\battempts$", "2:25"), (r"\bdecimals$", "2:6"),
    (r"\blatitude", "-60:60.00"), (r"\blongitude", "-170:170.00"), (r"\byear", "1990:2024"), (r"\bage\b", "18:80"),
    (r"\b(id|code)$", "1000:99999"), (r"percent|humidity", "5:95"), (r"temperature", "-5:40"), (r"\bscore|\brating", "1:10"),
    (r"\bratio\b|coefficient|probability|factor|threshold", "0.1:0.99"), (r"\brate", "1:12.0"),
    (r"price|amount|budget|cost|income|salary|revenue|investment|value|expense|fee", "50:9000"),
    (r"number|count|quantity|size|limit|max|min|guests|people|rooms|players|participants|page", "2:30"),
    (r"duration|days|hours|minutes|time|term|period", "5:90"), (r"population", "1000:90000"), (r"weight|mass", "5:120"),
    (r"height|length|width|depth|distance|radius|diameter|thickness|base|area|volume", "2:200"),
    (r"speed|velocity|angle|force|pressure|voltage|power|current|load|acceleration|energy|density|capacity|dos", "5:150"),
)  # fmt: skip
EXAMPLES = re.compile(r"\b(?:e\.g\.?|such as)[,:]?\s*([^()]*)", re.I)
# The comma in "January 1, 2022" is no separator.
SEPARATOR = re.compile(r"(?:(?<![a-z] \d)(?<![a-z] \d\d),\s+|,\s+(?!\d{4}\b))(?:or |and |etc\.?)?| or |;\s*")
PLACEHOLDER = re.compile(
    r"^(a |an |the )?(specific |full |valid )?((\w+ )?(name|id|code|address|details?|number)s?|city|cit(ies|y)|countr(ies|y)|"
    r"states?|regions?|coordinates|url|email|urls?|true|false|yes|no|date|year|[ymdhs:/\-. ]+|.*(yyyy|hh:mm|etc).*|"
    r"file ?path|location|string)$",
    re.I,
)
"""A pattern of examples that name a type of value instead of a value."""
MONTHS = [date(2023, month, 1).strftime("%B") for month in range(1, 13)]


def draw_value(name: str, schema: Mapping[str, Any], rng: Random) -> Any:
    """Draw a plausible value by name and schema, or return None. Whether there is a value does not depend on the draw."""
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    examples = _examples(schema)
    match schema.get("type"):
        case "boolean":
            return rng.random() < 0.7
        case "integer" | "number" as type_:
            return _number(name, type_ == "integer", examples, rng)
        case "string":
            return _text(name, schema, examples, rng)
    return None


def _examples(schema: Mapping[str, Any]) -> Sequence[str]:
    listed_examples = schema.get("examples") or schema.get("example") or schema.get("example_values")
    match = EXAMPLES.search(schema.get("description", ""))
    text = (
        ", ".join(map(str, listed_examples))
        if isinstance(listed_examples, list)
        else str(listed_examples or (match[1] if match else ""))
    )
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    quoted = re.findall(r"(?<!\w)['\"]([^'\"]+)['\"](?!\w)", text)
    parts = [part.strip(" .'\"`") for part in quoted or SEPARATOR.split(text)]
    # A part with unbalanced brackets was split by a comma within a value.
    if any(PLACEHOLDER.match(part) or part.count("[") + part.count("(") != part.count("]") + part.count(")") for part in parts):
        return []
    return [part for part in parts if 0 < len(part) < 60 and part != "etc"]


def _number(name: str, is_integer: bool, examples: Sequence[str], rng: Random) -> float | int | None:
    texts = [match[0] for example in examples if (match := re.search(r"-?\d+(?:\.\d+)?", example))]
    if texts and (len(texts) < 2 or rng.random() < 0.5):
        low = high = rng.choice(texts)
    elif texts:
        low, high = min(texts, key=float), max(texts, key=float)
    else:
        low, _, high = next(
            (bounds for names, bounds in RANGES if re.search(names, name_in_words(name).lower())), ""
        ).partition(":")
    return _between(low, high, is_integer, rng) if low else None


def _between(low: str, high: str, is_integer: bool, rng: Random) -> float | int:
    digits = 0 if is_integer else max(len(bound.partition(".")[2]) for bound in (low, high))
    drawn = round(rng.uniform(float(low), float(high)), digits)
    return int(drawn) if drawn == int(drawn) else drawn


def _text(name: str, schema: Mapping[str, Any], examples: Sequence[str], rng: Random) -> str | None:
    kind = param_kind(name, schema)
    is_iso = (
        any(re.fullmatch(r"\d{4}-\d\d-\d\d", example) for example in examples)
        or "yyyy-mm-dd" in schema.get("description", "").lower()
    )
    if kind.category == "date" and (is_iso or not examples):
        return _date(int(kind.values), rng, is_iso=is_iso)
    if examples:
        example = rng.choice(examples)
        return (
            _fill_digits(re.sub(r"\d", "#", example), rng)
            if kind.category == "id" and re.search(r"\d{3}", example)
            else example
        )
    if kind.category in GENERATORS:
        return GENERATORS[kind.category](rng)
    return _from_pattern(kind.values, rng) if kind.values else None


def _date(year: int, rng: Random, *, is_iso: bool) -> str:
    month, day = rng.randint(1, 12), rng.randint(1, 28)
    iso_date, name = f"{year}-{month:02}-{day:02}", MONTHS[month - 1]
    styles = (iso_date, iso_date, f"{name} {day}, {year}", f"{day} {name} {year}", f"{month:02}/{day:02}/{year}")
    return iso_date if is_iso else rng.choice(styles)


def _id(rng: Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    shapes = (f"{letters}###", f"{letters}-####", "#####", f"{letters}####", f"{letters.lower()}#k#")
    return _fill_digits(rng.choice(shapes), rng)


def _email(rng: Random) -> str:
    first, last = _person(rng)
    return rng.choice((f"{first}.{last}@example.com", f"{first}@mail.com", f"{first[0]}{last}@company.org"))


def _file(rng: Random) -> str:
    first, _ = _person(rng)
    word = rng.choice(("report", "sales", "sample", "holiday", "survey", "meeting", "results", "team"))
    path = rng.choice((f"/data/{word}_##.csv", f"{word}.png", f"/home/{first}/{word}.txt", f"{word}_##.jpg"))
    return path.replace("##", str(rng.randint(1, 40)))


GENERATORS: Mapping[Category, Callable[[Random], str]] = {"id": _id, "email": _email, "file": _file}


def _from_pattern(values: str, rng: Random) -> str:
    _, last = _person(rng)
    pattern = rng.choice(table_entries(values))
    return _fill_digits(pattern.replace("NAME", last + rng.choice(("shop", "labs", "news"))), rng)


def _person(rng: Random) -> Sequence[str]:
    return rng.choice(table_entries(PEOPLE)).lower().split(" ")


def _fill_digits(pattern: str, rng: Random) -> str:
    return re.sub("#", lambda _: str(rng.randint(1, 9)), pattern)
