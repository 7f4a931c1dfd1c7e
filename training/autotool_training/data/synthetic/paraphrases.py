"""Parameters whose value a request tells in other words than its call needs, as people do and schemas do not.

A rate told in percent and needed as a fraction, a date in words needed in a format, a city needed with its state or country,
thousands needed in figures; some rates and thousands are told as needed, as people do too. What is needed stands in the
parameter's description, but for some of the rates: where nothing is said a fraction is needed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from autotool_training.data.grounding import MONTHS, dates, numbers
from autotool_training.data.synthetic.kinds import options, words
from autotool_training.data.synthetic.values import EXAMPLES

RATES = """interest_rate: The interest rate of the year|annual_interest_rate: Interest for a year|growth_rate: Expected growth
tax_rate: The tax to be paid|discount: The discount that is given|discount_rate: The rate for discounting
rate_of_return: The return of a year|expected_return: The return that is expected|inflation_rate: Inflation
probability: How probable it is|success_rate: The share of successes|failure_rate: The share of failures
error_margin: The margin of error|commission: The commission on top|confidence: The level of confidence
annual_increase: The increase of each year|rate: The rate of a year|share: The share of the whole"""
"""Parameters that are given to tools with numbers, and their descriptions: Seal-Tools has few rates of its own."""
STATES = """Austin, TX|Denver, CO|Boston, MA|Chicago, IL|Seattle, WA|Miami, FL|Dallas, TX|Atlanta, GA|Phoenix, AZ|Portland, OR
Detroit, MI|Houston, TX|San Diego, CA|Los Angeles, CA|San Francisco, CA|New York, NY|Las Vegas, NV|Nashville, TN
New Orleans, LA|Philadelphia, PA|Orlando, FL|Minneapolis, MN|Cleveland, OH|Baltimore, MD|Salt Lake City, UT|Tampa, FL
Milwaukee, WI|Charlotte, NC|Sacramento, CA|Honolulu, HI|Oakland, CA|San Jose, CA|San Antonio, TX|Memphis, TN|Omaha, NE
Louisville, KY|Buffalo, NY|Pittsburgh, PA|Tucson, AZ|Fresno, CA|Anchorage, AK|Boise, ID|Madison, WI|Savannah, GA"""
LANDS = """Paris, France|London, UK|Berlin, Germany|Madrid, Spain|Rome, Italy|Vienna, Austria|Prague, Czech Republic
Lisbon, Portugal|Dublin, Ireland|Oslo, Norway|Stockholm, Sweden|Helsinki, Finland|Warsaw, Poland|Budapest, Hungary
Athens, Greece|Istanbul, Turkey|Cairo, Egypt|Nairobi, Kenya|Lagos, Nigeria|Cape Town, South Africa|Mumbai, India|Delhi, India
Bangkok, Thailand|Jakarta, Indonesia|Manila, Philippines|Hanoi, Vietnam|Seoul, South Korea|Tokyo, Japan|Osaka, Japan
Beijing, China|Shanghai, China|Sydney, Australia|Melbourne, Australia|Auckland, New Zealand|Toronto, Canada|Lima, Peru
Montreal, Canada|Bogota, Colombia|Santiago, Chile|Zurich, Switzerland|Brussels, Belgium|Copenhagen, Denmark"""
FRACTIONS = (" as a decimal", " (as a fraction of 1)", ", e.g., 0.05 for 5%", ", in decimal form", "", "", "")
"""How a description goes on where a fraction is needed. Nothing is said of some."""
PERCENTS = (" in percent", " (%)", " as a percentage")
CITIES = tuple(one.split(",")[0] for table in (STATES, LANDS) for one in options(table))
RATED = frozenset(one.split(":")[0] for one in options(RATES))
FORMATS = {"YYYY-MM-DD": "{y}-{m:02}-{d:02}", "MM/DD/YYYY": "{m:02}/{d:02}/{y}", "DD-MM-YYYY": "{d:02}-{m:02}-{y}"}
WRITTEN = ("{month} {day}, {year}", "{day} {month} {year}", "{month} {nth}, {year}", "{short} {day}, {year}")
LARGE_SCALES = ("thousand", "k", "million")
LARGE = r"\b(budget|income|salary|revenue|investment|investment amount|loan amount|population|annual sales|funding)$"
PLACE, OTHER_PLACE = r"\b(city|town|location|destination|origin|venue)$", r"\b(country|nation|state|region|coordinates)\b"
DATE = r"\bdate$"


@dataclass(frozen=True, slots=True)
class Telling:
    """A parameter, what a request says in place of a value of it, and what the call needs."""

    name: str
    about: Mapping[str, Any]
    """Its schema."""
    told: Callable[[Random], str]
    meant: Callable[[str], Any]
    """Of what is told, the value."""


def telling(properties: Mapping[str, Mapping[str, Any]], draw: Random) -> Telling | None:
    """One that a tool of these parameters can have, in place of one of them or beside them; None where it can have none."""
    ways = [way for name, about in properties.items() for way in _ways(name, about, properties)]
    if not ways:
        return None
    make, name = draw.choice(ways)
    return make(name, properties[name], draw)


def _ways(name: str, about: Mapping[str, Any], all_: Mapping[str, Any]) -> Iterator[tuple[Callable[..., Telling], str]]:
    said, others = words(name).lower(), " ".join(words(one).lower() for one in all_)
    match about.get("type"):
        # Of two dates one would lie anywhere to the other.
        case "string" if re.search(DATE, said) and len(re.findall(r"\bdate\b", others)) == 1:
            yield _date, name
        case "string" if re.search(PLACE, said) and not re.search(OTHER_PLACE, others) and _takes_cities(about):
            yield _place, name
        case "number" if not RATED & all_.keys():
            yield _rate, name
    if about.get("type") in ("integer", "number") and re.search(LARGE, said):
        yield _large, name


def _takes_cities(about: Mapping[str, Any]) -> bool:
    """Whether a place's description says nothing else; its examples, if it has any, are cities."""
    text = about.get("description", "")
    found = EXAMPLES.search(text)
    return not re.search(OTHER_PLACE, text) and (not found or any(city in found[1] for city in (*CITIES, "city")))


def _date(name: str, about: Mapping[str, Any], draw: Random) -> Telling:
    wanted = draw.choice(("YYYY-MM-DD", *FORMATS))
    schema = _described(about, f" ({wanted})", f" in the format {wanted}", f", as {wanted}", draw=draw)

    def told(draw: Random) -> str:
        day, month, year = draw.randint(1, 28), draw.choice(MONTHS).capitalize(), draw.randint(2015, 2026)
        return draw.choice(WRITTEN).format(day=day, nth=_nth(day), month=month, short=month[:3], year=year)

    return Telling(name, schema, told, lambda text: _formatted(text, FORMATS[wanted]))


def _formatted(text: str, form: str) -> str:
    ((year, month, day), _) = next(dates(text))
    return form.format(y=year, m=month, d=day)


def _nth(day: int) -> str:
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def _place(name: str, about: Mapping[str, Any], draw: Random) -> Telling:
    table, part = draw.choice(((STATES, "state"), (STATES, "state"), (LANDS, "country")))
    whole = {one.split(",")[0]: one for one in options(table)}
    like = draw.choice([*whole.values()])
    ends = (f", as city and {part}, such as {like}", f" (city and {part}, e.g., {like})", f", in the format of {like}")
    return Telling(name, _described(about, *ends, draw=draw), lambda draw: draw.choice([*whole]), whole.__getitem__)


def _large(name: str, about: Mapping[str, Any], draw: Random) -> Telling:
    def told(draw: Random) -> str:
        if draw.random() < 0.5:
            return draw.choice((f"{draw.randint(2, 950)}", f"{draw.randint(1, 90)}000", f"{draw.randint(1, 900)},500"))
        scale = draw.choice(LARGE_SCALES)
        figure = draw.choice((f"{draw.randint(2, 900)}", f"{draw.randint(1, 9)}.{draw.randint(1, 9)}"))
        return figure + scale if scale == "k" else f"{figure} {scale}"

    return Telling(name, about, told, _figure)


def _figure(text: str) -> int:
    return round(next(numbers(text))[0])


def _rate(_host: str, _about: Mapping[str, Any], draw: Random) -> Telling:
    name, _, described = draw.choice(options(RATES)).partition(": ")
    divided = draw.random() < 0.8
    schema = {"type": "number", "description": described + draw.choice(FRACTIONS if divided else PERCENTS)}

    def told(draw: Random) -> str:
        if draw.random() < 0.1:
            return f"0.{draw.randint(1, 40):02}" if divided else str(draw.randint(1, 40))
        few, many, broken = draw.randint(1, 15), draw.randint(2, 95), f"{draw.randint(1, 14)}.{draw.choice((25, 5, 75))}"
        return str(draw.choice((few, many, broken))) + draw.choice(("%", "%", "%", " percent"))

    return Telling(name, schema, told, lambda text: _rated(text, divided=divided))


def _rated(text: str, *, divided: bool) -> float:
    found = [number for number, _ in numbers(text)]
    # In percent there are two of them, as it stands and as a fraction.
    value = found[-1] if divided else found[0]
    return int(value) if value == int(value) else value


def _described(about: Mapping[str, Any], *ends: str, draw: Random) -> Mapping[str, Any]:
    """The schema without the examples that a description has, and with what is needed."""
    text: str = about.get("description", "")
    bare: Sequence[str] = re.split(r"\s*[(,]|\.(?!\w)|\s+(?:in (?:the |\S+ )?format|such as|e\.g)", text)
    return {"type": about["type"], "description": (bare[0] or "The value") + draw.choice(ends)}
