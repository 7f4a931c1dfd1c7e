"""Errors that a user can act on: each message names what is wrong and how to fix it."""


class AutoToolError(Exception):
    """The base of every error that this project raises on purpose; its text is one clear sentence for the user."""


class InvalidRequestError(AutoToolError):
    """A request that cannot be served.

    `field` is the dotted path of the invalid request field, or None if no single field is at fault.
    The message never repeats the refused value: a hostile body must not be echoed back.
    """

    def __init__(self, message: str, field: str | None = None, *, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.status = status


class EngineError(AutoToolError):
    """The engine failed or cannot be reached; the request itself was fine."""


class HungThreadError(EngineError):
    """A thread of the engine hangs. It ends with this process only, so that the engine cannot be started again."""


class UpstreamError(EngineError):
    """A remote engine's server answers what no engine may: it is the wrong server, or it is set up wrongly."""
