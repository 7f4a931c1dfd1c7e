"""What the scripts of Python clients share: `run("package", check, ...)` at their end."""

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

BASE_URL = os.environ["BASE_URL"]
"""Ends with /v1."""
ROOT_URL = BASE_URL.removesuffix("/v1")
MODEL = os.environ["MODEL"]
API_KEY = os.environ["API_KEY"]
TOKENIZER = os.environ["TOKENIZER"]
"""The folder of the model's tokenizer."""

SAY = "<<say The capital of France is Paris.>>"
SAID = "The capital of France is Paris."
WEATHER = 'What is the weather in Paris? <<call get_weather {"city": "Paris"}>> <<say It is RESULT in Paris.>>'
WEATHER_SAID = "It is 18 degrees in Paris."
THREE_TURNS = (
    'Compare. <<think First Paris.>>+<<call get_weather {"city": "Paris"}>> <<call get_weather {"city": "Rome"}>> '
    '<<call get_weather {"city": "Oslo"}>> <<say Oslo has RESULT.>>'
)
THREE_TURNS_SAID = "Oslo has 3 degrees."
PERSON = 'Ada, 36 years old <<say {"name": "Ada", "age": 36}>>'
DEGREES = {"Paris": "18 degrees", "Rome": "24 degrees", "Oslo": "3 degrees"}


def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: Name of the city.
    """
    return DEGREES[city]


def equal(found: Any, expected: Any) -> None:
    """Raise AssertionError, which shows both, if they differ."""
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def run(package: str, *checks: Callable[[], Any]) -> None:
    """Run the checks, functions named as the table shall name them, and report them in one line of JSON."""
    _report(package, {check.__name__.replace("_", " "): check for check in checks})


def run_over(package: str, protocols: Mapping[str, Any], *checks: Callable[[Any], Any]) -> None:
    """Run every check over every protocol and report them. A check takes its protocol's value.

    In the table `stream` over `chat` is named `chat stream`, and `answer` is named `chat`.
    """
    named = {
        f"{protocol} {check.__name__}".replace("_", " ").removesuffix(" answer"): partial(check, value)
        for protocol, value in protocols.items()
        for check in checks
    }
    _report(package, named)


def _report(package: str, checks: Mapping[str, Callable[[], Any]]) -> None:
    with asyncio.Runner() as runner:  # one event loop, since clients keep connections
        outcomes = {name: _outcome(check, runner) for name, check in checks.items()}
    sys.stdout.write("\n" + json.dumps({"version": version(package), "checks": outcomes}) + "\n")
    sys.stdout.flush()
    os._exit(0 if all(outcome is True for outcome in outcomes.values()) else 1)  # threads of clients may stay


def _outcome(check: Callable[[], Any], runner: asyncio.Runner) -> bool | str:
    try:
        if inspect.iscoroutinefunction(check):
            runner.run(check())
        else:
            check()
    except BaseException as error:  # a client's exit is a failed check too
        traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
    return True
