"""The id of the request that is being served, for logs: what the client sends as `x-request-id`, or one of the server's own."""

from contextvars import ContextVar

REQUEST_ID = ContextVar("REQUEST_ID", default="-")
