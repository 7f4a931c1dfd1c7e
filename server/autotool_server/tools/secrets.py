"""Secrets of tools: read from the environment, and redacted in everything that leaves a tool."""

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
    """Fills `${NAME}` in the settings of tools from the environment and records the values for `redact`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._values: set[str] = set()

    def fill(self, text: str, setting: str) -> str:
        """Return the text with each `${NAME}` replaced. Raises AutoToolError for a variable that is not set."""
        for name in _REFERENCE.findall(text):
            if not self._environment.get(name):
                raise AutoToolError(f"{setting} needs the environment variable {name}, which is not set.")
            self._values.add(self._environment[name])
        return _REFERENCE.sub(lambda match: self._environment[match[1]], text)

    def redact(self, text: str) -> str:
        """Return the text with each value replaced by `[redacted]`."""
        # Longest first: one value may be part of another.
        for value in sorted(_all_encodings(self._values), key=len, reverse=True):
            text = text.replace(value, REDACTED)
        return text


def _all_encodings(values: Iterable[str]) -> set[str]:
    """Return each value, and its encodings in URLs, in JSON and in base64."""
    return {text for value in values for text in (value, *_encodings(value))}


def _encodings(value: str) -> Iterator[str]:
    yield quote(value, safe="")
    yield quote_plus(value)
    yield from (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(value.encode()).decode().rstrip("=")
