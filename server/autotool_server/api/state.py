"""What the routes share."""

import hmac

from fastapi import Request
from pydantic import SecretStr

from autotool_core.tokenizer import Tokenizer
from autotool_server.api.admission import Admission
from autotool_server.api.metrics import Metrics
from autotool_server.conversation.service import ChatService
from autotool_server.errors import OverloadedError, UnauthorizedError
from autotool_server.settings import Settings


class ServerState:
    """One per app. It has no service until the engine has started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admission = Admission(settings.max_concurrent_requests)
        self.metrics.in_flight.set_function(lambda: self.admission.in_flight)
        self._service: ChatService | None = None

    @property
    def service(self) -> ChatService:
        """The chat service. Raises OverloadedError while the engine starts."""
        if self._service is None:
            raise OverloadedError("The model is still loading. Try again in a few seconds.")
        return self._service

    @service.setter
    def service(self, service: ChatService) -> None:
        self._service = service

    @property
    def tokenizer(self) -> Tokenizer:
        """The served checkpoint's tokenizer."""
        return self.service.engine.tokenizer

    def authorize(self, request: Request) -> None:
        """Raise UnauthorizedError unless the request carries the API key that is asked for, if one is."""
        if self.settings.api_key is not None and not _carries(request, self.settings.api_key):
            raise UnauthorizedError("Send the API key of this server: `Authorization: Bearer KEY`.")

    def authorize_operator(self, request: Request) -> None:
        """Raise UnauthorizedError unless the request carries the operator's key."""
        if self.settings.admin_key is None:
            raise UnauthorizedError("This server has no operator's key. Start it with AUTOTOOL_ADMIN_KEY set.")
        if not _carries(request, self.settings.admin_key):
            raise UnauthorizedError("Send the operator's key: `Authorization: Bearer KEY`.")


def _carries(request: Request, key: SecretStr) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {key.get_secret_value()}".encode())


def state_of(request: Request) -> ServerState:
    """The state of the app that got the request."""
    return request.app.state.server
