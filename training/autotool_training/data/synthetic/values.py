"""Values of parameters: from the examples of their descriptions, or by the kind of their names."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from random import Random
from typing import Any

from autotool_training.data.synthetic.kinds import PEOPLE, Sort, kind, options, words

RANGES = (  # of numbers whose description gives none
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
# The comma of "January 1, 2022" separates nothing.
SEPARATOR = re.compile(r"(?:(?<![a-z] \d)(?<![a-z] \d\d),\s+|,\s+(?!\d{4}\b))(?:or |and |etc\.?)?| or |;\s*")
PLACEHOLDER = re.compile(
    r"^(a |an |the )?(specific |full |valid )?((\w+ )?(name|id|code|address|details?|number)s?|city|cit(ies|y)|countr(ies|y)|"
    r"states?|regions?|coordinates|url|email|urls?|true|false|yes|no|date|year|[ymdhs:/\-. ]+|.*(yyyy|hh:mm|etc).*|"
    r"file ?path|location|string)$",
    re.I,
)
"""An example that is the name of a thing, not a thing."""
MONTHS = [date(2023, month, 1).strftime("%B") for month in range(1, 13)]


def value(name: str, about: Mapping[str, Any], draw: Random) -> Any:
    """A plausible value of a parameter of this name and schema, or None. Whether there is one does not hang on the draw."""
    if about.get("enum"):
        return draw.choice(about["enum"])
    examples = _examples(about)
    match about.get("type"):
        case "boolean":
            return draw.random() < 0.7
        case "integer" | "number" as type_:
            return _number(name, type_ == "integer", examples, draw)
        case "string":
            return _text(name, about, examples, draw)
    return None


def _examples(about: Mapping[str, Any]) -> Sequence[str]:
    stated = about.get("examples") or about.get("example") or about.get("example_values")
    found = EXAMPLES.search(about.get("description", ""))
    text = ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or (found[1] if found else ""))
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    quoted = re.findall(r"(?<!\w)['\"]([^'\"]+)['\"](?!\w)", text)
    parts = [part.strip(" .'\"`") for part in quoted or SEPARATOR.split(text)]
    # What a comma has cut in two is no value.
    if any(PLACEHOLDER.match(part) or part.count("[") + part.count("(") != part.count("]") + part.count(")") for part in parts):
        return []
    return [part for part in parts if 0 < len(part) < 60 and part != "etc"]


def _number(name: str, whole: bool, examples: Sequence[str], draw: Random) -> float | int | None:
    texts = [found[0] for one in examples if (found := re.search(r"-?\d+(?:\.\d+)?", one))]
    if texts and (len(texts) < 2 or draw.random() < 0.5):
        low = high = draw.choice(texts)
    elif texts:
        low, high = min(texts, key=float), max(texts, key=float)
    else:
        low, _, high = next((scope for names, scope in RANGES if re.search(names, words(name).lower())), "").partition(":")
    return _between(low, high, whole, draw) if low else None


def _between(low: str, high: str, whole: bool, draw: Random) -> float | int:
    digits = 0 if whole else max(len(one.partition(".")[2]) for one in (low, high))
    drawn = round(draw.uniform(float(low), float(high)), digits)
    return int(drawn) if drawn == int(drawn) else drawn


def _text(name: str, about: Mapping[str, Any], examples: Sequence[str], draw: Random) -> str | None:
    of = kind(name, about)
    iso = any(re.fullmatch(r"\d{4}-\d\d-\d\d", one) for one in examples) or "yyyy-mm-dd" in about.get("description", "").lower()
    if of.sort == "date" and (iso or not examples):
        return _date(int(of.values), draw, iso=iso)
    if examples:
        one = draw.choice(examples)
        return _digits(re.sub(r"\d", "#", one), draw) if of.sort == "id" and re.search(r"\d{3}", one) else one
    if of.sort in MADE:
        return MADE[of.sort](draw)
    return _written(of.values, draw) if of.values else None


def _date(year: int, draw: Random, *, iso: bool) -> str:
    month, day = draw.randint(1, 12), draw.randint(1, 28)
    plain, name = f"{year}-{month:02}-{day:02}", MONTHS[month - 1]
    styles = (plain, plain, f"{name} {day}, {year}", f"{day} {name} {year}", f"{month:02}/{day:02}/{year}")
    return plain if iso else draw.choice(styles)


def _id(draw: Random) -> str:
    letters = "".join(draw.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(draw.randint(1, 3)))
    shapes = (f"{letters}###", f"{letters}-####", "#####", f"{letters}####", f"{letters.lower()}#k#")
    return _digits(draw.choice(shapes), draw)


def _email(draw: Random) -> str:
    first, last = _person(draw)
    return draw.choice((f"{first}.{last}@example.com", f"{first}@mail.com", f"{first[0]}{last}@company.org"))


def _file(draw: Random) -> str:
    first, _ = _person(draw)
    word = draw.choice(("report", "sales", "sample", "holiday", "survey", "meeting", "results", "team"))
    path = draw.choice((f"/data/{word}_##.csv", f"{word}.png", f"/home/{first}/{word}.txt", f"{word}_##.jpg"))
    return path.replace("##", str(draw.randint(1, 40)))


MADE: Mapping[Sort, Callable[[Random], str]] = {"id": _id, "email": _email, "file": _file}


def _written(values: str, draw: Random) -> str:
    _, last = _person(draw)
    one = draw.choice(options(values))
    return _digits(one.replace("NAME", last + draw.choice(("shop", "labs", "news"))), draw)


def _person(draw: Random) -> Sequence[str]:
    return draw.choice(options(PEOPLE)).lower().split(" ")


def _digits(pattern: str, draw: Random) -> str:
    return re.sub("#", lambda _: str(draw.randint(1, 9)), pattern)
