"""The spans of a request's trace. Where no traces are exported (`otlp`) there is one span, which records nothing.

Each task has a current span, which begins with the request's. What runs as a generator starts children of it, which it ends
itself, and never makes them current: whoever closes a generator may do so from another context.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Literal

Value = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Value | None]
"""Values by name; what is None is left out. Never prompts, arguments, results or messages of errors, which may quote them."""
Kind = Literal["internal", "client"]

_EMPTY: Mapping[str, str] = MappingProxyType({})


class Span:
    """A span that records nothing, and the interface of those that do."""

    is_recording = False
    """Whether anybody will see its attributes."""

    @property
    def trace_id(self) -> str | None:
        """The id of its trace in hexadecimal digits; None where there is no trace."""
        return None

    @property
    def headers(self) -> Mapping[str, str]:
        """`traceparent` and `tracestate` for what is asked within the span; empty where there is no trace."""
        return _EMPTY

    @property
    def exemplar(self) -> dict[str, str] | None:
        """The labels of an exemplar that leads to the trace; None where it is not recorded."""
        return None

    def child(self, name: str, attributes: Attributes = MappingProxyType({}), kind: Kind = "internal") -> "Span":
        """Start a span within this one."""
        return self

    def past(self, name: str, seconds: float, error_type: str | None = None) -> None:
        """Add a span within this one that ends now, and began so many seconds ago. `error_type`: how its work has failed."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def rename(self, name: str) -> None:
        """Give the span another name."""

    def fail(self, error_type: str) -> None:
        """Note that the work of the span has failed, the first time. `error_type`: a word for the kind of error."""

    def end(self) -> None:
        """End the span."""

    def attached(self) -> AbstractContextManager[object]:
        """Return what makes the span that of libraries with traces of their own, meanwhile."""
        return nullcontext()

    def __enter__(self) -> "Span":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.fail(error_type(error))
        self.end()


NONE = Span()
_CURRENT = ContextVar("_CURRENT", default=NONE)


def current() -> Span:
    """Return the current span of this task."""
    return _CURRENT.get()


@contextmanager
def entered(span: Span) -> Iterator[Span]:
    """Make a span the current one of this task and of those that it starts meanwhile, and end it. Not for generators."""
    token = _CURRENT.set(span)
    try:
        with span, span.attached():
            yield span
    finally:
        _CURRENT.reset(token)


def error_type(error: BaseException) -> str:
    """Return the word for an error: `cancelled`, or the name of its class."""
    return "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else type(error).__name__
