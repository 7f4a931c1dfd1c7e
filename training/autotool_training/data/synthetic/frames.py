"""Sentence frames that turn a task into a request."""

import re
from collections.abc import Sequence
from random import Random

from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.kinds import table_entries

FRAMES = """{D}.|{D}.|{D}.|{D}|Please {d}.|Please {d}|Could you {d}?|Can you {d}?|Could you please {d}?|Would you {d}?
I need to {d}.|I'd like to {d}.|I want to {d}.|Can you help me {d}?|Help me {d}.|Hi, could you {d}?
Hey, can you {d}?|I'm trying to {d}.|I have to {d}.|{D}, please.|Would you mind helping me {d}?
I'd like you to {d}.|My task for today is to {d}.|I was asked to {d}; please do it.|Let's {d}.
For a report, I need to {d}.|Would it be possible to {d}?|Kindly {d}.|Next, {d}.|Hello! I would like to {d}."""
MULTI_SENTENCE_FRAMES = ("{D}.", "Please {d}.", "I need to {d}.", "{D}")
"""Frames of a task with several sentences."""
NOUN_FRAMES = """I need {x}.|Show me {x}.|Give me {x}.|Tell me {x}.|I'm looking for {x}.|I'd like to see {x}.|Can I see {x}?
Can you give me {x}?|Could you show me {x}?|Can you tell me {x}?|Do you have {x}?|I'd like to know {x}.
{X}, please.|Please tell me {x}.|I'm interested in {x}."""
QUESTION_FRAMES = (
    "What {b} {x}?",
    "What {b} {x}?",
    "Can you tell me what {x} {b}?",
    "Do you know what {x} {b}?",
    "What {b} {x}?",
)
INFORMATION_FRAMES = ("What can you tell me about {x}?", "I'd like to learn about {x}.", "What do we know about {x}?")
CONJUNCTIONS = (
    "{a}, and {b}", "{a} and also {b}", "{a}, then {b}", "{a}. Also, {b}", "{a}, and after that {b}", "{a}. Then {b}",
    "{a} and, separately, {b}", "first {a}, then {b}", "{a}. In addition, {b}", "{a}. Besides that, {b}",
)  # fmt: skip
LOOKUP_VERBS = ("find", "get", "look up", "check", "retrieve", "pull up", "fetch")
CALCULATION_VERBS = ("calculate", "compute", "work out", "find")
VERB_SYNONYMS = {
    "retrieve": LOOKUP_VERBS,
    "get": LOOKUP_VERBS,
    "fetch": LOOKUP_VERBS,
    "calculate": CALCULATION_VERBS,
    "determine": ("determine", "find out", "work out"),
    "estimate": ("estimate",),
    "find": ("find",),
}
"""Synonyms of the verbs that a request can also omit, asking only for their object."""


def draw_verb(api: Api, rng: Random) -> str:
    """Draw the verb of the tool's description or a synonym."""
    return rng.choice(VERB_SYNONYMS.get(api.verb, (api.verb,)))


def join_tasks(tasks: Sequence[str], rng: Random) -> str:
    """Join two or more tasks."""
    if len(tasks) > 2:
        return f"{', '.join(tasks[:-1])}, and {tasks[-1]}"
    return rng.choice(CONJUNCTIONS).format(a=tasks[0], b=tasks[1])


def as_request(task: str, rng: Random) -> str:
    """Draw a request to do the task."""
    frame = rng.choice(table_entries(FRAMES))
    if ". " in task:
        frame = rng.choice(MULTI_SENTENCE_FRAMES)
    return frame.format(d=task, D=_capitalized(task))


def request_for(api: Api, object_phrase: str, rng: Random) -> str:
    """Draw a request for the object of the tool's verb: to do the task, or only for the object if the verb allows that."""
    if api.verb not in VERB_SYNONYMS or rng.random() < 0.4:
        return as_request(f"{draw_verb(api, rng)} {object_phrase}", rng)
    about = re.match(r"(?:the )?(?:\w+ )?(?:information|details|data)\b.*? (?:about|on|of) (.*)", object_phrase)
    if about and rng.random() < 0.4:
        return rng.choice(INFORMATION_FRAMES).format(x=about[1])
    thing = (
        object_phrase
        if re.match(r"(the|a|an|all|any|your|my|information|details|data) ", object_phrase, re.I)
        else f"the {object_phrase}"
    )
    return _request_for_thing(thing, rng)


def _request_for_thing(thing: str, rng: Random) -> str:
    is_indefinite = thing.startswith(("a ", "an ", "all ", "any ", "information", "details", "data"))
    frames = table_entries(NOUN_FRAMES) if is_indefinite or rng.random() < 0.5 else QUESTION_FRAMES
    # A verb after a long object is hard to read.
    frames = [frame for frame in frames if not frame.endswith("{b}?") or len(thing) < 60]
    return rng.choice(frames).format(x=thing, X=_capitalized(thing), b=_to_be(thing))


def _to_be(thing: str) -> str:
    head = re.split(r" (?:of|for|about|on|from|in|by|at|to|with|between|using) ", thing)[0]
    return "are" if re.search(r"[^sui]s$|\band\b", head) else "is"


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]
