"""What the routes share."""

import hmac

from fastapi import Request

from autotool_core.tokenizer import Tokenizer
from autotool_server.admission import Admission
from autotool_server.chat import ChatService
from autotool_server.errors import OverloadedError, UnauthorizedError
from autotool_server.metrics import Metrics
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
        if self.settings.api_key is None:
            return
        expected = f"Bearer {self.settings.api_key.get_secret_value()}"
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise UnauthorizedError("Send the API key of this server: `Authorization: Bearer KEY`.")


def state_of(request: Request) -> ServerState:
    """The state of the app that got the request."""
    return request.app.state.server
