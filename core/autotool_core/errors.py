"""Errors that a user can act on: each message says what was wrong and how to mend it."""


class AutoToolError(Exception):
    """Base of every error this project raises on purpose; its text is one clear sentence for the user."""


class InvalidRequestError(AutoToolError):
    """A request that cannot be served as asked.

    `field` is the dotted path of the offending request field, or None where no single field is to blame.
    The message never repeats the value it refuses: a hostile body must not be echoed back.
    """

    def __init__(self, message: str, field: str | None = None, *, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.status = status


class EngineError(AutoToolError):
    """The engine failed or cannot be reached; the request itself was fine."""
