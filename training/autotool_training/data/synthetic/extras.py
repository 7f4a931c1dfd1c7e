"""Draws additional parameters that tools of many domains share, but few of Seal-Tools' tools have.

They are flags to include something or to do something in addition, counts, and choices.
"""

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from autotool_training.data.synthetic.kinds import name_in_words, table_entries

PREFIXES = ("include", "include", "show", "with", "add", "return")
NOUNS = """history|photos|prices|taxes|contact_details|sources|references|examples|statistics|totals|weekends|comments|reviews
averages|charts|footnotes|holidays|opening_hours|forecast|summary|explanation|ratings|translations|subtitles|fees|warnings|notes
timestamps|attachments|keywords|abstracts|captions|links|coordinates|metadata|alternatives|ingredients|instructions|side_effects"""
ACTIONS = """sort_results|round_result|send_reminder|save_copy|notify_team|translate_names|merge_duplicates|compress_output
print_report|ignore_errors|remove_duplicates|verify_address|archive_original|group_by_year|encrypt_files|mask_names
repeat_weekly|log_changes"""
COUNTS = """years: Number of years|months: Number of months|days: Number of days|weeks: Number of weeks
limit: Most results to return|limit: How many results to give|radius: How far around to look, in kilometers
number_of_decimals: Decimals of the result|number_of_copies: How many copies to make|number_of_attempts: How often to try
number_of_people: How many people it is for|number_of_rounds: How many rounds there are|number_of_samples: Samples to take"""
CHOICES = """format: pdf, csv, json, html, docx: Format of the result|order: ascending, descending: Order of the results
priority: low, medium, high: How urgent it is|size: small, medium, large: The size that is wanted
unit_system: metric, imperial: Units of the result|detail_level: short, normal, full: How much to tell
sorting: price, date, name, rating, distance: What to sort by|currency: USD, EUR, GBP, JPY: Currency of the amounts
travel_mode: car, train, bus, bicycle: How one travels|quality: draft, standard, best: Quality of the result"""
ENDINGS = ("", ".", ".")
COUNT_LIKE = re.compile(r"\b(period|duration|date|time|term|year|month|week|day|count|number|size|limit|quantity|range)s?\b")
"""Words of a tool's own parameters that would make another count ambiguous."""


def draw_extra_params(existing: Mapping[str, Any], rng: Random) -> Mapping[str, Mapping[str, Any]]:
    """Draw at most two parameters with their schemas that do not clash with the existing ones."""
    makers = [_flag, rng.choice((_count, _choice))]
    rng.shuffle(makers)
    made = [make(rng) for make in makers[: rng.choice((1, 1, 2))]]
    existing_words = " ".join(name_in_words(name) for name in existing)
    return {name: schema for name, schema in made if not _clashes(name, schema, existing_words)}


def _clashes(name: str, schema: Mapping[str, Any], existing_words: str) -> bool:
    return any(word in existing_words.split() for word in name_in_words(name).split()) or (
        schema["type"] == "integer" and bool(COUNT_LIKE.search(existing_words))
    )


def _flag(rng: Random) -> tuple[str, Mapping[str, Any]]:
    if rng.random() < 0.7:
        noun = rng.choice(table_entries(NOUNS))
        name = f"{rng.choice(PREFIXES)}_{noun}"
        description = f"{rng.choice(('Whether', 'If'))} the {name_in_words(noun)} should be in the result"
    else:
        name = rng.choice(table_entries(ACTIONS))
        description = f"Whether to {name_in_words(name)}"
    return name, {"type": "boolean", "description": description + rng.choice((*ENDINGS, ". Default is false."))}


def _count(rng: Random) -> tuple[str, Mapping[str, Any]]:
    name, _, description = rng.choice(table_entries(COUNTS)).partition(": ")
    return name, {"type": "integer", "description": description + rng.choice(ENDINGS)}


def _choice(rng: Random) -> tuple[str, Mapping[str, Any]]:
    name, values, description = rng.choice(table_entries(CHOICES)).split(": ")
    return name, {"type": "string", "description": description + rng.choice(ENDINGS), "enum": values.split(", ")}
