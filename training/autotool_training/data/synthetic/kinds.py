"""Kinds of parameters by the words of their names: phrasings of a value, and values if the description has none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Category = Literal["text", "number", "year", "date", "id", "email", "file", "count"]

CITIES = """Paris|London|Berlin|Madrid|Rome|Vienna|Prague|Lisbon|Dublin|Oslo|Stockholm|Helsinki|Warsaw|Budapest|Athens|Istanbul
Cairo|Nairobi|Lagos|Cape Town|Mumbai|Delhi|Bangkok|Singapore|Jakarta|Manila|Hanoi|Seoul|Tokyo|Osaka|Beijing|Shanghai|Sydney
Melbourne|Auckland|Toronto|Vancouver|Montreal|Chicago|Boston|Seattle|Denver|Austin|Miami|Dallas|Lima|Bogota|Santiago"""
PEOPLE = """Anna Keller|Tom Reed|Maria Silva|John Carter|Lucy Chen|Omar Haddad|Priya Nair|David Cohen|Emma Larsen|Noah Fischer
Sofia Rossi|Liam Murphy|Aisha Khan|Peter Novak|Julia Weber|Carlos Mendes|Hannah Scott|Kenji Mori|Olga Petrova|Samuel Osei
Grace Lee|Victor Dubois|Nina Berg|Ahmed Saleh|Laura Gomez|Ben Walker|Mei Tanaka|Ivan Horvat|Clara Jensen|Daniel Brooks"""
COUNTRIES = "Germany|France|Japan|Brazil|Canada|India|Kenya|Norway|Spain|Italy|Mexico|Australia|Chile|Egypt|Sweden|Poland"
COMPANIES = "Northwind Traders|Bluepeak Energy|Harbor Foods|Lumen Labs|Vertex Motors|Greenfield Bank|Orbit Media|Silverline Ltd"
PROJECTS = "Aurora|Falcon|Horizon|Mercury|Atlas|Evergreen|Pioneer|Summit|Nova|Beacon|Orion|Cascade"


@dataclass(frozen=True, slots=True)
class ParamKind:
    """Parameters with the same phrasings. | separates phrasings and values, and a repeated one is drawn twice as often."""

    name_pattern: str
    """A pattern of the names in words."""
    phrasings: str
    """Phrases with the value `{v}` and the name in words `{w}`, which follow a noun."""
    values: str = ""
    """Values, in which # is a digit and NAME a company's name; the year for dates. Empty if the name implies no values."""
    category: Category = "text"


KINDS = (  # The first match counts.
    ParamKind(r"^(years|months|days|weeks)$", "for {v} {w}|over {v} {w}|during {v} {w}|within {v} {w}", category="count"),
    ParamKind(r"^limit$", "(the top {v})|giving the first {v}|limited to {v} of them|at most {v}", category="count"),
    ParamKind(r"^(priority|quality)$", "with {v} {w}|with {w} {v}|at {v} {w}"),
    ParamKind(r"^(order|format|size)$", "in {v} {w}|in {v} {w}|with {v} as the {w}"),
    ParamKind(r"^sorting$", "sorted by {v}|ordered by {v}|by {v}"),
    ParamKind(r"^travel mode$", "by {v}|going by {v}|travelling by {v}"),
    ParamKind(r"\b(source|from|origin|departure) (city|location|airport)$|^origin$|^source$", "from {v}", CITIES),
    ParamKind(r"^destination|\b(to|destination) (city|location)$", "to {v}|going to {v}|with {v} as the destination", CITIES),
    ParamKind(r"\b(city|town|location|venue)$", "in {v}|for {v}|in {v}|located in {v}|around {v}", CITIES),
    ParamKind(r"\bcountry$|\bcountry name$|\bnationality$", "in {v}|for {v}|in {v}", COUNTRIES),
    ParamKind(r"\bregion$|\bstate$", "in {v}|for {v}|in the {w} {v}", "Bavaria|Tuscany|Ontario|Queensland|Texas|Andalusia"),
    ParamKind(
        r"\b(start|from|begin|check in)\b.*\bdate$", "from {v}|starting on {v}|starting {v}|beginning {v}", "2022", "date"
    ),
    ParamKind(r"\b(end|to|due|check out)\b.*\bdate$|deadline", "until {v}|to {v}|ending on {v}|up to {v}", "2024", "date"),
    ParamKind(r"\bdate$|\bday$", "on {v}|for {v}|on {v}|dated {v}|with {v} as the {w}", "2023", "date"),
    ParamKind(r"\byear$", "in {v}|for {v}|for the year {v}|in the year {v}|from {v}", category="year"),
    ParamKind(r"\b(time|hour)$", "at {v}|for {v}|with the {w} {v}"),
    ParamKind(r"\bemail( address)?$", "at {v}|with the {w} {v}|using the {w} {v}", category="email"),
    ParamKind(
        r"\b(url|website|link)$", "at {v}|for {v}|from {v}", "https://www.NAME.com|https://NAME.org/page|https://NAME.net"
    ),
    ParamKind(r"\b(path|file|image|photo|video|audio|dataset)$", "from {v}|in {v}|for {v}|using {v}", category="file"),
    ParamKind(r"\bphone( number)?$", "at {v}|with the {w} {v}", "+1-555-###-####|555-####|+44 20 #### ####"),
    ParamKind(r"\baddress$", "at {v}|to {v}|with the {w} {v}", "## Oak Street|### Main Street|# Station Road|## Park Avenue"),
    ParamKind(r"\b(ip|host|server)$", "at {v}|for {v}", "10.0.#.##|192.168.#.##|172.16.#.#"),
    ParamKind(
        r"\b(id|number|code|identifier|vin|isbn|token|pin)\d?$", "with {w} {v}|with the {w} {v}|under {w} {v}", category="id"
    ),
    ParamKind(r"\b(username|user)$", "for {v}|for the {w} {v}|as {v}", "tom_reed##|skywalker#|lucyc##|darkfox#|nberg##"),
    ParamKind(r"\bpassword$", "with the {w} {v}|using {v} as the {w}", "Blue#Fox##|sunny####|Qw##ert#"),
    ParamKind(r"\b(author|artist|director|composer|writer)( name)?$", "by {v}|from {v}|made by {v}|by {v}", PEOPLE),
    ParamKind(
        r"\b(patient|customer|guest|member|student|player|donor|participant|recipient|employee|first|user|person|client|teacher"
        r"|owner|contact|candidate|applicant|doctor|assignee|researcher|instructor|sender|passenger|athlete|driver) name$"
        r"|^(recipient|assignee|researcher|person|organizer|sender)$",
        "for {v}|for {v}|for a person called {v}|under the name {v}|named {v}|with the {w} {v}",
        PEOPLE,
    ),
    ParamKind(
        r"\b(company|organization|brand|supplier|vendor|employer|establishment|publisher|manufacturer)( name)?$",
        "for {v}|of {v}|at {v}|for the {w} {v}",
        COMPANIES,
    ),
    ParamKind(
        r"\b(project|campaign|event|team|group|workspace|app|application|product|library|database|network|device|system|service"
        r"|instance|job|table|task|item|program|game|class|component) name$",
        "called {v}|named {v}|for {v}|for the one named {v}|with the {w} {v}",
        PROJECTS,
    ),
    ParamKind(
        r"\b(title|book|film|song)$", "called {v}|titled {v}|with the title {v}", "The Glass River|Winter Roads|Blue Harbour"
    ),
    ParamKind(r"\b(source|from) language$", "from {v}|written in {v}", "German|French|Italian|English"),
    ParamKind(r"\b(target|to) language$", "into {v}|to {v}", "Spanish|Japanese|Portuguese|Hindi|Swedish"),
    ParamKind(r"\blanguage$", "in {v}|in {v}|with {v} as the {w}", "English|Spanish|German|French|Hindi|Japanese|Portuguese"),
    ParamKind(r"\b(gender|sex)$", "with the {w} {v}|where the {w} is {v}", "male|female"),
    ParamKind(r"\b(method|technique|algorithm|tool|software|model|platform)$", "using {v}|with {v}|via {v}|by means of {v}"),
    ParamKind(r"\b(topic|subject|theme|keywords?)$", "about {v}|on {v}|covering {v}|with a focus on {v}"),
    ParamKind(r"\b(type|category|genre|style|level|status|role)$", "with {v} as the {w}|of {w} {v}|with the {w} {v}"),
    ParamKind(r"\bunits?$", "in {v}|in {v}|measured in {v}"),
    ParamKind(
        r"\b(period|duration|timeframe|time range)$", "over {v}|for {v}|for a {w} of {v}", "6 months|2 weeks|30 days|1 year"
    ),
    ParamKind(r"\bcolou?r$", "in {v}|with {v} as the {w}", "red|green|blue|black|white|orange"),
    ParamKind(r"", "with {w} {v}|with the {w} {v}|with {v} as the {w}|with the {w} set to {v}"),
)
PLURALS = (  # The end of a noun and its replacement; the first match counts.
    (r"(?:[^ius]s|ness|[^e]ed|sold|taken|children|data|media|info|equipment|ware)$", r"\g<0>"),  # These stay unchanged.
    (r"is$", "es"),
    (r"([^aeiou])y$", r"\1ies"),
    (r"(?:[^o]ch|sh|[su]s|\wx|z)$", r"\g<0>es"),
    (r"$", "s"),
)
NUMBER = ParamKind(
    r"",
    "with a {w} of {v}|at a {w} of {v}|with {w} {v}|given a {w} of {v}|for a {w} of {v}|where the {w} is {v}",
    category="number",
)


def param_kind(name: str, schema: Mapping[str, Any]) -> ParamKind:
    """Return the kind of a parameter by its name and schema."""
    match = next(entry for entry in KINDS if re.search(entry.name_pattern, name_in_words(name).lower()))
    # A number whose name matches a place or a date is a count or a measure.
    return NUMBER if schema.get("type") in ("integer", "number") and match.category not in ("id", "year", "count") else match


def name_in_words(name: str) -> str:
    """Return the words of a name in camel case or snake case."""
    lower = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", name).strip().lower()
    lower = re.sub(r"^(?:num|n) (?:of )?", "number of ", lower)
    return re.sub(r"\b(id|url|ip|gpa|vin|isbn|dna|bmi)\b", lambda match: match[1].upper(), lower)


def table_entries(text: str) -> Sequence[str]:
    """Return the entries of a table in this package, separated by | or line breaks."""
    return re.split(r"[|\n]", text)


def plural(noun: str) -> str:
    """Return the plural of a noun phrase."""
    return next(re.sub(end, replacement, noun) for end, replacement in PLURALS if re.search(end, noun))
