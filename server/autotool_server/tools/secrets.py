"""Secrets of tools: read from the environment, and taken out of everything that leaves a tool."""

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

from autotool_core.errors import AutoToolError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
REDACTED = "[redacted]"


class Secrets:
    """Fills `${NAME}` in settings of tools from the environment and remembers the values, so that `redact` finds them."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._values: set[str] = set()

    def fill(self, text: str, setting: str) -> str:
        """The text with each `${NAME}` replaced. Raises AutoToolError, naming setting and variable, where one is not set."""
        for name in _REFERENCE.findall(text):
            if not self._environment.get(name):
                raise AutoToolError(f"{setting} needs the environment variable {name}, which is not set.")
            self._values.add(self._environment[name])
        return _REFERENCE.sub(lambda found: self._environment[found[1]], text)

    def redact(self, text: str) -> str:
        """The text without any of the values."""
        # The longest first: one value may be a part of another.
        for value in sorted(_forms(self._values), key=len, reverse=True):
            text = text.replace(value, REDACTED)
        return text


def _forms(values: Iterable[str]) -> set[str]:
    """Each value as it is, and as it stands in a URL, in JSON and in base64 by itself."""
    return {form for value in values for form in (value, *_encoded(value))}


def _encoded(value: str) -> Iterator[str]:
    yield quote(value, safe="")
    yield quote_plus(value)
    yield from (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(value.encode()).decode().rstrip("=")
