"""Paraphrases of a parameter: the request has a surface form of a value, and the call needs its canonical value.

A rate is given in percent and needed as a fraction, a date is given in words and needed in a format, a city is needed with its
state or country, and a large amount is needed in figures. Some rates and amounts are given in the canonical form, as people do
too. The parameter's description states the canonical form, except for some rates: without a statement, a fraction is needed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from autotool_training.data.grounding import MONTHS, dates, numbers
from autotool_training.data.synthetic.kinds import name_in_words, table_entries
from autotool_training.data.synthetic.values import EXAMPLES

RATES = """interest_rate: The interest rate of the year|annual_interest_rate: Interest for a year|growth_rate: Expected growth
tax_rate: The tax to be paid|discount: The discount that is given|discount_rate: The rate for discounting
rate_of_return: The return of a year|expected_return: The return that is expected|inflation_rate: Inflation
probability: How probable it is|success_rate: The share of successes|failure_rate: The share of failures
error_margin: The margin of error|commission: The commission on top|confidence: The level of confidence
annual_increase: The increase of each year|rate: The rate of a year|share: The share of the whole"""
"""Rates that are added to tools with numbers, and their descriptions, because Seal-Tools has few rates."""
US_CITIES = """Austin, TX|Denver, CO|Boston, MA|Chicago, IL|Seattle, WA|Miami, FL|Dallas, TX|Atlanta, GA|Phoenix, AZ
Portland, OR|Detroit, MI|Houston, TX|San Diego, CA|Los Angeles, CA|San Francisco, CA|New York, NY|Las Vegas, NV|Nashville, TN
New Orleans, LA|Philadelphia, PA|Orlando, FL|Minneapolis, MN|Cleveland, OH|Baltimore, MD|Salt Lake City, UT|Tampa, FL
Milwaukee, WI|Charlotte, NC|Sacramento, CA|Honolulu, HI|Oakland, CA|San Jose, CA|San Antonio, TX|Memphis, TN|Omaha, NE
Louisville, KY|Buffalo, NY|Pittsburgh, PA|Tucson, AZ|Fresno, CA|Anchorage, AK|Boise, ID|Madison, WI|Savannah, GA"""
FOREIGN_CITIES = """Paris, France|London, UK|Berlin, Germany|Madrid, Spain|Rome, Italy|Vienna, Austria|Prague, Czech Republic
Lisbon, Portugal|Dublin, Ireland|Oslo, Norway|Stockholm, Sweden|Helsinki, Finland|Warsaw, Poland|Budapest, Hungary
Athens, Greece|Istanbul, Turkey|Cairo, Egypt|Nairobi, Kenya|Lagos, Nigeria|Cape Town, South Africa|Mumbai, India|Delhi, India
Bangkok, Thailand|Jakarta, Indonesia|Manila, Philippines|Hanoi, Vietnam|Seoul, South Korea|Tokyo, Japan|Osaka, Japan
Beijing, China|Shanghai, China|Sydney, Australia|Melbourne, Australia|Auckland, New Zealand|Toronto, Canada|Lima, Peru
Montreal, Canada|Bogota, Colombia|Santiago, Chile|Zurich, Switzerland|Brussels, Belgium|Copenhagen, Denmark"""
FRACTIONS = (" as a decimal", " (as a fraction of 1)", ", e.g., 0.05 for 5%", ", in decimal form", "", "", "")
"""Endings of the description if a fraction is needed. Some are empty."""
PERCENTS = (" in percent", " (%)", " as a percentage")
CITIES = tuple(entry.split(",")[0] for table in (US_CITIES, FOREIGN_CITIES) for entry in table_entries(table))
RATE_NAMES = frozenset(entry.split(":")[0] for entry in table_entries(RATES))
DATE_FORMATS = {"YYYY-MM-DD": "{y}-{m:02}-{d:02}", "MM/DD/YYYY": "{m:02}/{d:02}/{y}", "DD-MM-YYYY": "{d:02}-{m:02}-{y}"}
DATE_STYLES = ("{month} {day}, {year}", "{day} {month} {year}", "{month} {nth}, {year}", "{short} {day}, {year}")
AMOUNT_SCALES = ("thousand", "k", "million")
AMOUNT_NAME = r"\b(budget|income|salary|revenue|investment|investment amount|loan amount|population|annual sales|funding)$"
PLACE_NAME, REGION_NAME = r"\b(city|town|location|destination|origin|venue)$", r"\b(country|nation|state|region|coordinates)\b"
DATE_NAME = r"\bdate$"


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """A parameter that requests paraphrase."""

    name: str
    schema: Mapping[str, Any]
    surface_form: Callable[[Random], str]
    """Draws the text of a value in a request."""
    canonical_value: Callable[[str], Any]
    """Returns the value that the call needs for a surface form."""


def draw_paraphrase(properties: Mapping[str, Mapping[str, Any]], rng: Random) -> Paraphrase | None:
    """Draw a paraphrase that replaces one of these parameters or is added to them, or return None if none fits."""
    makers = [maker for name, schema in properties.items() for maker in _makers(name, schema, properties)]
    if not makers:
        return None
    make, name = rng.choice(makers)
    return make(name, properties[name], rng)


def _makers(
    name: str, schema: Mapping[str, Any], properties: Mapping[str, Any]
) -> Iterator[tuple[Callable[..., Paraphrase], str]]:
    name_words, others = name_in_words(name).lower(), " ".join(name_in_words(entry).lower() for entry in properties)
    match schema.get("type"):
        # Two dates drawn independently could be in the wrong order.
        case "string" if re.search(DATE_NAME, name_words) and len(re.findall(r"\bdate\b", others)) == 1:
            yield _date_paraphrase, name
        case "string" if re.search(PLACE_NAME, name_words) and not re.search(REGION_NAME, others) and _takes_cities(schema):
            yield _place_paraphrase, name
        case "number" if not RATE_NAMES & properties.keys():
            yield _rate_paraphrase, name
    if schema.get("type") in ("integer", "number") and re.search(AMOUNT_NAME, name_words):
        yield _amount_paraphrase, name


def _takes_cities(schema: Mapping[str, Any]) -> bool:
    """Return whether a place is a city by its description, whose examples, if any, are cities."""
    text = schema.get("description", "")
    match = EXAMPLES.search(text)
    return not re.search(REGION_NAME, text) and (not match or any(city in match[1] for city in (*CITIES, "city")))


def _date_paraphrase(name: str, schema: Mapping[str, Any], rng: Random) -> Paraphrase:
    date_format = rng.choice(("YYYY-MM-DD", *DATE_FORMATS))
    described = _redescribed(schema, f" ({date_format})", f" in the format {date_format}", f", as {date_format}", rng=rng)

    def surface_form(rng: Random) -> str:
        day, month, year = rng.randint(1, 28), rng.choice(MONTHS).capitalize(), rng.randint(2015, 2026)
        return rng.choice(DATE_STYLES).format(day=day, nth=_ordinal(day), month=month, short=month[:3], year=year)

    return Paraphrase(name, described, surface_form, lambda text: _format_date(text, DATE_FORMATS[date_format]))


def _format_date(text: str, form: str) -> str:
    ((year, month, day), _) = next(dates(text))
    return form.format(y=year, m=month, d=day)


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def _place_paraphrase(name: str, schema: Mapping[str, Any], rng: Random) -> Paraphrase:
    table, part = rng.choice(((US_CITIES, "state"), (US_CITIES, "state"), (FOREIGN_CITIES, "country")))
    full_names = {entry.split(",")[0]: entry for entry in table_entries(table)}
    example = rng.choice([*full_names.values()])
    endings = (
        f", as city and {part}, such as {example}",
        f" (city and {part}, e.g., {example})",
        f", in the format of {example}",
    )
    return Paraphrase(
        name, _redescribed(schema, *endings, rng=rng), lambda rng: rng.choice([*full_names]), full_names.__getitem__
    )


def _amount_paraphrase(name: str, schema: Mapping[str, Any], rng: Random) -> Paraphrase:
    def surface_form(rng: Random) -> str:
        if rng.random() < 0.5:
            return rng.choice((f"{rng.randint(2, 950)}", f"{rng.randint(1, 90)}000", f"{rng.randint(1, 900)},500"))
        scale = rng.choice(AMOUNT_SCALES)
        figure = rng.choice((f"{rng.randint(2, 900)}", f"{rng.randint(1, 9)}.{rng.randint(1, 9)}"))
        return figure + scale if scale == "k" else f"{figure} {scale}"

    return Paraphrase(name, schema, surface_form, _parse_amount)


def _parse_amount(text: str) -> int:
    return round(next(numbers(text))[0])


def _rate_paraphrase(_name: str, _schema: Mapping[str, Any], rng: Random) -> Paraphrase:
    name, _, described = rng.choice(table_entries(RATES)).partition(": ")
    is_fraction = rng.random() < 0.8
    schema = {"type": "number", "description": described + rng.choice(FRACTIONS if is_fraction else PERCENTS)}

    def surface_form(rng: Random) -> str:
        if rng.random() < 0.1:
            return f"0.{rng.randint(1, 40):02}" if is_fraction else str(rng.randint(1, 40))
        small, large, decimal = rng.randint(1, 15), rng.randint(2, 95), f"{rng.randint(1, 14)}.{rng.choice((25, 5, 75))}"
        return str(rng.choice((small, large, decimal))) + rng.choice(("%", "%", "%", " percent"))

    return Paraphrase(name, schema, surface_form, lambda text: _parse_rate(text, is_fraction=is_fraction))


def _parse_rate(text: str, *, is_fraction: bool) -> float:
    values = [number for number, _ in numbers(text)]
    # A percentage gives two numbers: its figure and a fraction.
    value = values[-1] if is_fraction else values[0]
    return int(value) if value == int(value) else value


def _redescribed(schema: Mapping[str, Any], *endings: str, rng: Random) -> Mapping[str, Any]:
    """Return the schema with a description that states the canonical form and has no other examples."""
    text: str = schema.get("description", "")
    bare: Sequence[str] = re.split(r"\s*[(,]|\.(?!\w)|\s+(?:in (?:the |\S+ )?format|such as|e\.g)", text)
    return {"type": schema["type"], "description": (bare[0] or "The value") + rng.choice(endings)}
