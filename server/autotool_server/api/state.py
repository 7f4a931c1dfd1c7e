"""What the endpoints of one app share."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request

from autotool_core.tokenizer import Tokenizer
from autotool_server.api.admission import Admission
from autotool_server.api.admission_queue import AdmissionQueue
from autotool_server.api.keys.file import Key
from autotool_server.api.keys.keyring import make_keyring
from autotool_server.api.keys.quotas import Quotas
from autotool_server.api.metrics import Metrics
from autotool_server.api.shutdown import Shutdown
from autotool_server.audit.auditor import Auditor
from autotool_server.conversation.history import History
from autotool_server.conversation.job import Job
from autotool_server.conversation.service import ConversationService
from autotool_server.errors import OverloadedError
from autotool_server.settings import Settings
from autotool_server.targets import Targets
from autotool_server.targets.controller import Controller
from autotool_server.tracing import open_tracer

OwnT = TypeVar("OwnT")


class ServerState:
    """The state of one app. It has no service until the engine has started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.tracer = open_tracer(settings.otlp_traces_endpoint)
        # The largest body always fits if it is alone.
        max_body_bytes = max(settings.max_bodies_bytes, settings.max_body_bytes)
        self.admission = Admission(settings.max_concurrent_requests, max_body_bytes)
        self.queue = AdmissionQueue(settings, self.metrics)
        self.shutdown = Shutdown()
        self.metrics.ready.set_function(lambda: self._service is not None and not self.shutdown.is_draining)
        self.metrics.in_flight.set_function(lambda: self.admission.in_flight)
        self.metrics.body_bytes.set_function(lambda: self.admission.body_bytes)
        self.keyring = make_keyring(settings)
        self.quotas = Quotas(settings, self.metrics)
        self.history = History()
        self.auditor = Auditor(settings.audit, settings.audit_at_once, self._has_idle_seat, self.metrics.audited)
        self.key: Key | None = None
        """The key of the client that this is the state for; None for one that is not limited."""
        self._service: ConversationService | None = None
        self._why_none = "The model is still loading."
        self._owned: dict[Callable[[Settings], Any], Any] = {}

    def _has_idle_seat(self, audit: Job, running: int) -> bool:
        """Whether one more audit may begin beside those that run: it takes a seat that nobody else has or waits for."""
        return not self.shutdown.is_draining and self.queue.has_idle_seat(audit, running)

    def own(self, make: Callable[[Settings], OwnT]) -> OwnT:
        """Return what `make` has made of the settings for this app, once; a protocol keeps there what its requests share."""
        if make not in self._owned:
            self._owned[make] = make(self.settings)
        return self._owned[make]

    def for_key(self, key: Key) -> "ServerState":
        """Return the same state as the holder of a key has it, with a service that refuses what the key may not use."""
        state = copy.copy(self)
        state.key = key
        if self._service is not None:
            state._service = self._service.for_caller(key.caller)
        return state

    @property
    def key_name(self) -> str | None:
        """The name of that key."""
        return self.key.name if self.key is not None else None

    @property
    def service(self) -> ConversationService:
        """The conversation service. Raises OverloadedError while the engine starts."""
        if self._service is None:
            raise OverloadedError(f"{self._why_none} Try again in a few seconds.", "not_ready")
        return self._service

    @service.setter
    def service(self, service: ConversationService) -> None:
        self.queue.fit(service.engine.capacity)  # before, so that an error here leaves no service
        self.metrics.targets.controllers = lambda: self._controllers(service.targets)
        self.metrics.tools.breakers.states = service.registry.open_breakers
        service.load.expected_wait = self.queue.expected_wait
        self.metrics.show_load(service.load)
        self._service = service

    def _controllers(self, targets: Targets) -> Mapping[str, Controller]:
        """Return the controllers of the operator's targets that hold now: the keys file may have lost some."""
        if self.keyring is not None:
            targets.keep_keys(self.keyring.targets())
        return targets.configured

    def withdraw_service(self, why: str) -> None:
        """Take the service away until it is set again. `why`: a sentence for clients."""
        self._service, self._why_none = None, why

    def note_answered(self, job: Job) -> None:
        """Keep what a job took that has been answered, for quotes, and have it audited if it is drawn."""
        self.history.note(job)
        if self._service is not None:
            self.auditor.consider(job, self.key_name, self._service)

    @property
    def tokenizer(self) -> Tokenizer:
        """The served checkpoint's tokenizer."""
        return self.service.engine.tokenizer


def state_of(request: Request) -> ServerState:
    """Return the state of the app that received the request."""
    return request.app.state.server
