"""Parameters that tools for quite different things have in common and Seal-Tools' seldom have: what to include, how many."""

from collections.abc import Mapping
from random import Random
from typing import Any

from autotool_training.data.seal_apis.kinds import options, words

PREFIXES = ("include", "include", "show", "with", "add", "return")
NOUNS = """history|photos|prices|taxes|contact_details|sources|references|examples|statistics|totals|weekends|comments|reviews
averages|charts|footnotes|holidays|opening_hours|forecast|summary|explanation|ratings|translations|subtitles|fees|warnings|notes
timestamps|attachments|keywords|abstracts|captions|links|coordinates|metadata|alternatives|ingredients|instructions|side_effects"""
DEEDS = """sort_results|round_result|send_reminder|save_copy|notify_team|translate_names|merge_duplicates|compress_output
print_report|ignore_errors|remove_duplicates|verify_address|archive_original|group_by_year|encrypt_files|mask_names
repeat_weekly|log_changes"""
COUNTS = """years: Number of years|months: Number of months|days: Number of days|weeks: Number of weeks
limit: Most results to return|max_results: How many results to give|top: How many of the best to list
radius_km: How far around to look|decimals: Number of decimals|copies: How many copies to make
attempts: Number of attempts|page_size: Entries on a page
number_of_people: How many people it is for|number_of_rounds: How many rounds there are|number_of_samples: Samples to take"""
CHOICES = """format: pdf, csv, json, html, docx: Format of the result|order: ascending, descending: Order of the results
priority: low, medium, high: How urgent it is|size: small, medium, large: The size that is wanted
unit_system: metric, imperial: Units of the result|detail_level: short, normal, full: How much to tell
sort_by: price, date, name, rating, distance: What to sort by|currency: USD, EUR, GBP, JPY: Currency of the amounts
mode_of_travel: car, train, bus, bicycle: How one travels|quality: draft, standard, best: Quality of the result"""
ENDS = ("", ".", ".")


def extras(taken: Mapping[str, Any], draw: Random) -> Mapping[str, Mapping[str, Any]]:
    """One or two more parameters with their schemas, of names that are not taken."""
    made = [draw.choice((_flag, _flag, _count, _choice))(draw) for _ in range(draw.choice((1, 1, 2)))]
    return {name: about for name, about in made if name not in taken}


def _flag(draw: Random) -> tuple[str, Mapping[str, Any]]:
    if draw.random() < 0.7:
        noun = draw.choice(options(NOUNS))
        name, about = f"{draw.choice(PREFIXES)}_{noun}", f"the {words(noun)} should be in the result"
    else:
        name = draw.choice(options(DEEDS))
        about = f"to {words(name)}"
    lead = draw.choice(("Whether", "Whether", "If")) if " should " in about else "Whether"
    return name, {"type": "boolean", "description": f"{lead} {about}" + draw.choice((*ENDS, ". Default is false."))}


def _count(draw: Random) -> tuple[str, Mapping[str, Any]]:
    name, _, about = draw.choice(options(COUNTS)).partition(": ")
    return name, {"type": "integer", "description": about + draw.choice(ENDS)}


def _choice(draw: Random) -> tuple[str, Mapping[str, Any]]:
    name, values, about = draw.choice(options(CHOICES)).split(": ")
    return name, {"type": "string", "description": about + draw.choice(ENDS), "enum": values.split(", ")}
