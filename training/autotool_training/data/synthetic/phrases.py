"""Puts arguments into words: in a slot of the description, after a noun, or as separate sentences."""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from autotool_training.data.synthetic.api import Api, Arguments
from autotool_training.data.synthetic.extras import ACTIONS as EXTRA_ACTIONS
from autotool_training.data.synthetic.kinds import name_in_words, plural, table_entries

LIST_STYLES = (  # The prefix, the phrasing of each argument, the separator and the suffix.
    ("with ", "a {w} of {v}", " and ", ""),
    ("(", "{w}: {v}", ", ", ")"),
    ("given that ", "the {w} is {v}", " and ", ""),
    ("where ", "{w} is {v}", " and ", ""),
    ("with ", "{w} = {v}", ", ", ""),
    ("using ", "{v} as the {w}", " and ", ""),
    ("for ", "{w} {v}", " and ", ""),
    ("with ", "{w} {v}", " and ", ""),
)
FACT_FRAMES = (
    "The {w} is {v}",
    "The {w}: {v}",
    "My {w} is {v}",
    "The {w} should be {v}",
    "As the {w}, take {v}",
    "Use {v} as the {w}",
)
CALL_CONJUNCTIONS = (
    "{a} and {b}",
    "{a}, and {b} as well",
    "{a} and also {b}",
    "{a}, and then {b}",
    "once {a} and once {b}",
    "{a}; {b}",
)
INCLUDING = """including {x}|with {x}|and include {x}|together with {x}|and the {x} too|along with the {x}
and show the {x} as well|plus the {x}|with the {x} included|and I want the {x}"""
EXCLUDING = "without {x}|but without {x}|leaving out the {x}|but no {x}|excluding {x}"
"""Phrases that ask a tool to include something, or not to."""
DOING, NOT_DOING = "and {x}|and also {x}|and please {x}|and {x} too", "but do not {x}|and don't {x}|but please do not {x}"
"""Phrases that ask a tool to do something in addition, or not to."""
UNIT = re.compile(
    r"\b(?:in|of)?\s*\(?\b((?:square |cubic )?(?:meters?|kilometers?|centimeters?|feet|inches|miles)(?: per \w+)?|"
    r"km/h|kilograms|kg|grams|liters|hours|minutes|seconds|days|weeks|months|years|dollars|USD|degrees(?: Celsius)?|"
    r"Celsius|volts|watts|hectares|acres|newtons|pascals|milliseconds|words|knots|Hz)\b",
)
GENERIC_ADJECTIVES = r"(?:specific|specified|given|particular|certain)"


def fill_slots(api: Api, calls: Sequence[Arguments], rng: Random, names: Iterable[str]) -> tuple[str, Sequence[str]]:
    """Return the object with values in slots such as "a specific sport", and the names of the remaining arguments."""
    object_phrase, remaining = api.object_phrase, []
    for name in names:
        slot = _slot(object_phrase, name) if isinstance(calls[0][name], str) else None
        if slot is None:
            remaining.append(name)
            continue
        value_text = _draw_lead(name, calls[0][name], rng) + join_list(
            [_value_text(api, name, arguments[name]) for arguments in calls]
        )
        object_phrase = object_phrase[: slot.start()] + value_text + object_phrase[slot.end() :]
    return re.sub(rf"\b(?:(an?) )?{GENERIC_ADJECTIVES} (\w)", _article, object_phrase, flags=re.I), remaining


def _slot(object_phrase: str, name: str) -> re.Match[str] | None:
    prefix = rf"(?<=(?:of|or|in|om|on|ut|at|to|by) )(?:(?:a|an|the|any) )?(?:{GENERIC_ADJECTIVES} )?"
    suffix = r"(?=$| (?:in|at|from|on|for|using|with|based|to|over|by|during)\b)"
    return re.search(prefix + re.escape(_head(name)) + suffix, object_phrase, re.I)


def _head(name: str) -> str:
    """Return the noun to which a name or an ID belongs."""
    return re.sub(r" (name|ID|title)$", "", name_in_words(name))


def _draw_lead(name: str, value: str, rng: Random) -> str:
    """Draw the words before a value that replaces its head noun."""
    head = _head(name)
    leads = ("",) if head == name_in_words(name) else ("", f"the {head} ")
    if name_in_words(name) == f"{head} ID":
        leads = (f"{head} ", f"the {head} with ID ")
    lead = rng.choice(leads)
    return "" if head.lower() in value.lower() else lead


def _article(match: re.Match[str]) -> str:
    return f"{'an' if match[2] in 'aeiou' else 'a'} {match[2]}" if match[1] else match[2]


def as_modifiers(api: Api, arguments: Arguments, rng: Random) -> str:
    """Return the arguments in words that can follow a noun."""
    flags = [_flag(name, value, rng) for name, value in arguments.items() if isinstance(value, bool)]
    others = {name: value for name, value in arguments.items() if not isinstance(value, bool)}
    categories = {api.param_kind(name).category for name in others}
    has_one_style = "count" not in categories and (
        len(others) > 1 or (bool(categories & {"number", "year"}) and rng.random() < 0.5)
    )
    text = _in_one_style(api, others, rng) if has_one_style and rng.random() < 0.4 else _in_own_styles(api, others, rng)
    return " ".join(filter(None, [text, *flags]))


def _in_one_style(api: Api, arguments: Arguments, rng: Random) -> str:
    prefix, phrasing, separator, suffix = rng.choice(LIST_STYLES)
    parts = [phrase(api, phrasing, name, value) for name, value in arguments.items()]
    return prefix + (join_list(parts) if separator == " and " else separator.join(parts)) + suffix


def _in_own_styles(api: Api, arguments: Arguments, rng: Random) -> str:
    phrases = [phrase(api, _draw_phrasing(api, name, rng), name, value) for name, value in arguments.items()]
    if len(phrases) > 2:
        return ", ".join(phrases[:-1]) + rng.choice((" and ", ", ")) + phrases[-1]
    return (rng.choice((" ", " ", " and ")) if len(phrases) > 1 else "").join(phrases)


def _draw_phrasing(api: Api, name: str, rng: Random) -> str:
    return rng.choice(table_entries(api.param_kind(name).phrasings))


def _flag(name: str, value: bool, rng: Random) -> str:
    flag = name_in_words(name)
    thing = re.sub(r"^(include|show|with|add|return|enable|allow|use) ", "", flag)
    if thing != flag:
        return rng.choice(table_entries(INCLUDING if value else EXCLUDING)).format(x=thing)
    if name in table_entries(EXTRA_ACTIONS):
        return rng.choice(table_entries(DOING if value else NOT_DOING)).format(x=flag)
    answer = "yes" if value else "no"
    return rng.choice((f"({flag}: {answer})", f"with {flag} set to {str(value).lower()}", f"({flag} = {value})"))


def as_sentences(api: Api, arguments: Arguments, rng: Random) -> str:
    """Return a sentence for each argument."""
    return " ".join(f"{_fact(api, name, value, rng)}." for name, value in arguments.items())


def _fact(api: Api, name: str, value: Any, rng: Random) -> str:
    if isinstance(value, bool):
        return f"{name_in_words(name).capitalize()}: {'yes' if value else 'no'}"
    if api.param_kind(name).category == "count":
        return f"I want it {phrase(api, _draw_phrasing(api, name, rng), name, value)}"
    return phrase(api, rng.choice(FACT_FRAMES), name, value)


def all_values(api: Api, name: str, values: Sequence[Any], rng: Random) -> str:
    """Return several values of one argument, with its name once."""
    value_text = join_list([_value_text(api, name, value) for value in values])
    if name_in_words(name).startswith("number of "):
        return f"with {value_text} {name_in_words(name).removeprefix('number of ')}"
    phrasing = rng.choice([entry for entry in table_entries(api.param_kind(name).phrasings) if "where" not in entry])
    several = re.sub(r"^with \{v\} as the \{w\}$", "with the {w} {v}", phrasing).replace("a {w}", "{w}")
    return several.format(w=plural(name_in_words(name)), v=value_text)


def call_by_call(api: Api, calls: Sequence[Arguments], names: Sequence[str], rng: Random) -> str:
    """Return these arguments of several calls, call by call."""
    prefix, phrasing, separator, suffix = (
        rng.choice(LIST_STYLES) if len(names) > 1 else ("", _draw_phrasing(api, names[0], rng), "", "")
    )
    clauses = [
        prefix + separator.join(phrase(api, phrasing, name, arguments[name]) for name in names) + suffix for arguments in calls
    ]
    return rng.choice(CALL_CONJUNCTIONS).format(a=", ".join(clauses[:-1]), b=clauses[-1])


def respectively(api: Api, calls: Sequence[Arguments], names: Sequence[str], rng: Random) -> str:
    """Return these arguments of several calls, argument by argument."""
    lists = [all_values(api, name, [arguments[name] for arguments in calls], rng) for name in names]
    return f"{join_list(lists)}{rng.choice((', ', ' '))}respectively"


def phrase(api: Api, phrasing: str, name: str, value: Any) -> str:
    """Return one argument in this phrasing."""
    argument, value_text = name_in_words(name), _value_text(api, name, value)
    if argument.startswith("number of ") and (lead := re.match(r"(with|for|given|at|a \{w\} of)\b", phrasing)):
        # This gives "with 3 people" instead of "given a number of people of 3". An item of a list has no prefix.
        prefix = {"with": "with ", "a {w} of": ""}.get(lead[1], "for ")
        return f"{prefix}{value_text} {argument.removeprefix('number of ')}"
    vowel = argument[0] in "aeiou" and not argument.startswith(("uni", "use", "eu"))
    article = "an {w}" if vowel else "a {w}"
    return re.sub(r"\ba \{w\}", article, phrasing).format(w=argument, v=value_text)


def _value_text(api: Api, name: str, value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if value.count(" ") > 3 else value
    schema = api.properties[name]
    unit = str(schema.get("unit") or "") or (UNIT.search(schema.get("description", "")) or ["", ""])[1]
    # Only two thirds of the tools get a unit, because people sometimes omit it.
    return f"{value} {unit}" if unit and len(api.name) % 3 and unit not in name_in_words(name) else str(value)


def join_list(parts: Sequence[str]) -> str:
    """Join the parts with commas and a final "and"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def append_phrase(object_phrase: str, tail: str) -> str:
    """Append the tail to the object, if it is not empty."""
    return f"{object_phrase} {tail}".strip()
