"""Sentences around what is wished."""

import re
from collections.abc import Sequence
from random import Random

from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.kinds import options

FRAMES = """{D}.|{D}.|{D}.|{D}|Please {d}.|Please {d}|Could you {d}?|Can you {d}?|Could you please {d}?|Would you {d}?
I need to {d}.|I'd like to {d}.|I want to {d}.|Can you help me {d}?|Help me {d}.|Hi, could you {d}?
Hey, can you {d}?|I'm trying to {d}.|I have to {d}.|{D}, please.|Would you mind helping me {d}?
I'd like you to {d}.|My task for today is to {d}.|I was asked to {d}; please do it.|Let's {d}.
For a report, I need to {d}.|Would it be possible to {d}?|Kindly {d}.|Next, {d}.|Hello! I would like to {d}."""
OPEN_FRAMES = ("{D}.", "Please {d}.", "I need to {d}.", "{D}")
"""Around a wish of several sentences."""
ASKS = """I need {x}.|Show me {x}.|Give me {x}.|Tell me {x}.|I'm looking for {x}.|I'd like to see {x}.|Can I see {x}?
Can you give me {x}?|Could you show me {x}?|Can you tell me {x}?|Do you have {x}?|I'd like to know {x}.
{X}, please.|Please tell me {x}.|I'm interested in {x}."""
QUESTIONS = ("What {b} {x}?", "What {b} {x}?", "Can you tell me what {x} {b}?", "Do you know what {x} {b}?", "What {b} {x}?")
ABOUT = ("What can you tell me about {x}?", "I'd like to learn about {x}.", "What do we know about {x}?")
JOINS = (
    "{a}, and {b}", "{a} and also {b}", "{a}, then {b}", "{a}. Also, {b}", "{a}, and after that {b}", "{a}. Then {b}",
    "{a} and, separately, {b}", "first {a}, then {b}", "{a}. In addition, {b}", "{a}. Besides that, {b}",
)  # fmt: skip
LOOK = ("find", "get", "look up", "check", "retrieve", "pull up", "fetch")
WORK_OUT = ("calculate", "compute", "work out", "find")
VERBS = {
    "retrieve": LOOK,
    "get": LOOK,
    "fetch": LOOK,
    "calculate": WORK_OUT,
    "determine": ("determine", "find out", "work out"),
    "estimate": ("estimate",),
    "find": ("find",),
}
"""Verbs whose object one can also ask for without them, and what else says the same."""


def verb(api: Api, draw: Random) -> str:
    """The verb of the tool's description, or one that says the same."""
    return draw.choice(VERBS.get(api.verb, (api.verb,)))


def chained(wishes: Sequence[str], draw: Random) -> str:
    """Two wishes or more as one."""
    if len(wishes) > 2:
        return f"{', '.join(wishes[:-1])}, and {wishes[-1]}"
    return draw.choice(JOINS).format(a=wishes[0], b=wishes[1])


def framed(wish: str, draw: Random) -> str:
    """A request to do what is wished."""
    frame = draw.choice(options(FRAMES))
    if ". " in wish:
        frame = draw.choice(OPEN_FRAMES)
    return frame.format(d=wish, D=_capital(wish))


def asked(api: Api, rest: str, draw: Random) -> str:
    """A request for what the tool's verb governs: to do it, or only for the thing where the verb allows that."""
    if api.verb not in VERBS or draw.random() < 0.4:
        return framed(f"{verb(api, draw)} {rest}", draw)
    about = re.match(r"(?:the )?(?:\w+ )?(?:information|details|data)\b.*? (?:about|on|of) (.*)", rest)
    if about and draw.random() < 0.4:
        return draw.choice(ABOUT).format(x=about[1])
    thing = rest if re.match(r"(the|a|an|all|any|your|my|information|details|data) ", rest, re.I) else f"the {rest}"
    return _asked_for(thing, draw)


def _asked_for(thing: str, draw: Random) -> str:
    bare = thing.startswith(("a ", "an ", "all ", "any ", "information", "details", "data"))
    frames = options(ASKS) if bare or draw.random() < 0.5 else QUESTIONS
    # After a long thing the verb comes too late.
    frames = [one for one in frames if not one.endswith("{b}?") or len(thing) < 60]
    return draw.choice(frames).format(x=thing, X=_capital(thing), b=_be(thing))


def _be(thing: str) -> str:
    head = re.split(r" (?:of|for|about|on|from|in|by|at|to|with|between|using) ", thing)[0]
    return "are" if re.search(r"[^sui]s$|\band\b", head) else "is"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
