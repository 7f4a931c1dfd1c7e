"""Arguments in words: in the place that a description has for them, after a noun, or as a sentence of their own."""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from autotool_training.data.synthetic.api import Api, Arguments
from autotool_training.data.synthetic.extras import DEEDS as BESIDE
from autotool_training.data.synthetic.kinds import options, plural, words

LISTS = (  # ways to say several arguments: before, each, between, after
    ("with ", "a {w} of {v}", " and ", ""),
    ("(", "{w}: {v}", ", ", ")"),
    ("given that ", "the {w} is {v}", " and ", ""),
    ("where ", "{w} is {v}", " and ", ""),
    ("with ", "{w} = {v}", ", ", ""),
    ("using ", "{v} as the {w}", " and ", ""),
    ("for ", "{w} {v}", " and ", ""),
    ("with ", "{w} {v}", " and ", ""),
)
FACTS = (
    "The {w} is {v}",
    "The {w}: {v}",
    "My {w} is {v}",
    "The {w} should be {v}",
    "As the {w}, take {v}",
    "Use {v} as the {w}",
)
AGAIN = ("{a} and {b}", "{a}, and {b} as well", "{a} and also {b}", "{a}, and then {b}", "once {a} and once {b}", "{a}; {b}")
WITH = """including {x}|with {x}|and include {x}|together with {x}|and the {x} too|along with the {x}|and show the {x} as well
plus the {x}|with the {x} included|and I want the {x}"""
WITHOUT = "without {x}|but without {x}|leaving out the {x}|but no {x}|excluding {x}"
"""Ways to say of what a tool can include that it should, and that it should not."""
DONE, LEFT = "and {x}|and also {x}|and please {x}|and {x} too", "but do not {x}|and don't {x}|but please do not {x}"
"""Ways to say of what a tool can do beside that it should, and that it should not."""
UNIT = re.compile(
    r"\b(?:in|of)?\s*\(?\b((?:square |cubic )?(?:meters?|kilometers?|centimeters?|feet|inches|miles)(?: per \w+)?|"
    r"km/h|kilograms|kg|grams|liters|hours|minutes|seconds|days|weeks|months|years|dollars|USD|degrees(?: Celsius)?|"
    r"Celsius|volts|watts|hectares|acres|newtons|pascals|milliseconds|words|knots|Hz)\b",
)
VAGUE = r"(?:specific|specified|given|particular|certain)"


def filled(api: Api, given: Sequence[Arguments], draw: Random, names: Iterable[str]) -> tuple[str, Sequence[str]]:
    """What is wished, values in place of "a specific sport" and the like; and the names of the arguments still to be said."""
    rest, left = api.rest, []
    for name in names:
        slot = _slot(rest, name) if isinstance(given[0][name], str) else None
        if slot is None:
            left.append(name)
            continue
        shown = _lead(name, given[0][name], draw) + listed([_shown(api, name, one[name]) for one in given])
        rest = rest[: slot.start()] + shown + rest[slot.end() :]
    return re.sub(rf"\b(?:(an?) )?{VAGUE} (\w)", _article, rest, flags=re.I), left


def _slot(rest: str, name: str) -> re.Match[str] | None:
    before = rf"(?<=(?:of|or|in|om|on|ut|at|to|by) )(?:(?:a|an|the|any) )?(?:{VAGUE} )?"
    after = r"(?=$| (?:in|at|from|on|for|using|with|based|to|over|by|during)\b)"
    return re.search(before + re.escape(_head(name)) + after, rest, re.I)


def _head(name: str) -> str:
    """What a name or an ID is of."""
    return re.sub(r" (name|ID|title)$", "", words(name))


def _lead(name: str, value: str, draw: Random) -> str:
    """Words before a value that stands in place of its head."""
    head = _head(name)
    leads = ("",) if head == words(name) else ("", f"the {head} ")
    if words(name) == f"{head} ID":
        leads = (f"{head} ", f"the {head} with ID ")
    lead = draw.choice(leads)
    return "" if head.lower() in value.lower() else lead


def _article(found: re.Match[str]) -> str:
    return f"{'an' if found[2] in 'aeiou' else 'a'} {found[2]}" if found[1] else found[2]


def said(api: Api, arguments: Arguments, draw: Random) -> str:
    """The arguments in words that can follow a noun."""
    flags = [_flag(name, value, draw) for name, value in arguments.items() if isinstance(value, bool)]
    others = {name: value for name, value in arguments.items() if not isinstance(value, bool)}
    sorts = {api.kind(name).sort for name in others}
    alike = "count" not in sorts and (len(others) > 1 or (bool(sorts & {"number", "year"}) and draw.random() < 0.5))
    text = _alike(api, others, draw) if alike and draw.random() < 0.4 else _each_in_its_way(api, others, draw)
    return " ".join(filter(None, [text, *flags]))


def _alike(api: Api, arguments: Arguments, draw: Random) -> str:
    before, way, between, after = draw.choice(LISTS)
    parts = [phrase(api, way, name, value) for name, value in arguments.items()]
    return before + (listed(parts) if between == " and " else between.join(parts)) + after


def _each_in_its_way(api: Api, arguments: Arguments, draw: Random) -> str:
    phrases = [phrase(api, _way(api, name, draw), name, value) for name, value in arguments.items()]
    if len(phrases) > 2:
        return ", ".join(phrases[:-1]) + draw.choice((" and ", ", ")) + phrases[-1]
    return (draw.choice((" ", " ", " and ")) if len(phrases) > 1 else "").join(phrases)


def _way(api: Api, name: str, draw: Random) -> str:
    return draw.choice(options(api.kind(name).ways))


def _flag(name: str, value: bool, draw: Random) -> str:
    flag = words(name)
    thing = re.sub(r"^(include|show|with|add|return|enable|allow|use) ", "", flag)
    if thing != flag:
        return draw.choice(options(WITH if value else WITHOUT)).format(x=thing)
    if name in options(BESIDE):
        return draw.choice(options(DONE if value else LEFT)).format(x=flag)
    answer = "yes" if value else "no"
    return draw.choice((f"({flag}: {answer})", f"with {flag} set to {str(value).lower()}", f"({flag} = {value})"))


def facts(api: Api, arguments: Arguments, draw: Random) -> str:
    """A sentence for each argument."""
    return " ".join(f"{_fact(api, name, value, draw)}." for name, value in arguments.items())


def _fact(api: Api, name: str, value: Any, draw: Random) -> str:
    if isinstance(value, bool):
        return f"{words(name).capitalize()}: {'yes' if value else 'no'}"
    if api.kind(name).sort == "count":
        return f"I want it {phrase(api, _way(api, name, draw), name, value)}"
    return phrase(api, draw.choice(FACTS), name, value)


def at_once(api: Api, name: str, values: Sequence[Any], draw: Random) -> str:
    """Several values of one argument, its name once."""
    shown = listed([_shown(api, name, one) for one in values])
    if words(name).startswith("number of "):
        return f"with {shown} {words(name).removeprefix('number of ')}"
    way = draw.choice([one for one in options(api.kind(name).ways) if "where" not in one])
    several = re.sub(r"^with \{v\} as the \{w\}$", "with the {w} {v}", way).replace("a {w}", "{w}")
    return several.format(w=plural(words(name)), v=shown)


def in_turn(api: Api, given: Sequence[Arguments], names: Sequence[str], draw: Random) -> str:
    """These arguments of several calls, call by call."""
    before, way, between, after = draw.choice(LISTS) if len(names) > 1 else ("", _way(api, names[0], draw), "", "")
    clauses = [before + between.join(phrase(api, way, name, one[name]) for name in names) + after for one in given]
    return draw.choice(AGAIN).format(a=", ".join(clauses[:-1]), b=clauses[-1])


def respectively(api: Api, given: Sequence[Arguments], names: Sequence[str], draw: Random) -> str:
    """These arguments of several calls, argument by argument."""
    lists = [at_once(api, name, [one[name] for one in given], draw) for name in names]
    return f"{listed(lists)}{draw.choice((', ', ' '))}respectively"


def phrase(api: Api, way: str, name: str, value: Any) -> str:
    """One argument, in this way."""
    argument, shown = words(name), _shown(api, name, value)
    if argument.startswith("number of ") and (lead := re.match(r"(with|for|given|at|a \{w\} of)\b", way)):
        # "with 3 people", not "given a number of people of 3"; what stands in a list has no word before it.
        before = {"with": "with ", "a {w} of": ""}.get(lead[1], "for ")
        return f"{before}{shown} {argument.removeprefix('number of ')}"
    vowel = argument[0] in "aeiou" and not argument.startswith(("uni", "use", "eu"))
    article = "an {w}" if vowel else "a {w}"
    return re.sub(r"\ba \{w\}", article, way).format(w=argument, v=shown)


def _shown(api: Api, name: str, value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if value.count(" ") > 3 else value
    about = api.properties[name]
    unit = str(about.get("unit") or "") or (UNIT.search(about.get("description", "")) or ["", ""])[1]
    # Two tools in three: people leave the unit out, too.
    return f"{value} {unit}" if unit and len(api.name) % 3 and unit not in words(name) else str(value)


def listed(parts: Sequence[str]) -> str:
    """The parts as one lists them in a sentence."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def tailed(rest: str, tail: str) -> str:
    """Both, where there is a tail."""
    return f"{rest} {tail}".strip()
