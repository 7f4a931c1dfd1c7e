"""The engine of a running server: it is watched, and started again when it has failed."""

import asyncio
import gc
import logging
import time
from collections.abc import Callable

from autotool_core.errors import EngineError, HungThreadError
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.base import Engine
from autotool_server.launch.warm_up import warm_up

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Time between two looks at whether the engine still lives."""
PAUSE_SECONDS = 1.0
"""Pause before the first restart; each further one is twice as long."""
MAX_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 600.0
"""Time of service after which restarts are counted anew."""

AWAY = "The engine has failed and is being started again."


class Supervisor:
    """Starts the engine of a server again when it fails. Meanwhile the server has no service, and `is_loaded` is not set.

    `may_restart`: whether the server is to go on at all.
    """

    def __init__(self, state: ServerState, is_loaded: asyncio.Event, may_restart: Callable[[], bool]) -> None:
        self._state = state
        self._is_loaded = is_loaded
        self._may_restart = may_restart
        self._num_restarts = 0

    async def run(self) -> EngineError:
        """Watch the engine. Return its error when it has failed and is not to be started again."""
        service = self._state.service
        while True:
            began = time.monotonic()
            error = await death(service.engine)
            if time.monotonic() - began > STEADY_SECONDS:
                self._num_restarts = 0
            while error is not None:
                if isinstance(error, HungThreadError) or not self._may_restart_again():
                    return error
                self._is_loaded.clear()
                error = await self._restart(service, error)
                self._is_loaded.set()  # not if this is cancelled: then a thread may still load

    def _may_restart_again(self) -> bool:
        return self._num_restarts < self._state.settings.engine_restarts and self._may_restart()

    async def _restart(self, service: ConversationService, cause: EngineError) -> EngineError | None:
        """Start the engine again after a pause. Return the error of a start that fails."""
        self._state.withdraw_service(AWAY)
        pause = min(PAUSE_SECONDS * 2**self._num_restarts, MAX_PAUSE_SECONDS)
        self._num_restarts += 1
        self._state.metrics.engine_restarts.inc()
        limit = self._state.settings.engine_restarts
        logger.error("%s The engine is started again (%d of %d).", cause, self._num_restarts, limit)
        try:
            await service.engine.stop()
            collect_all()
            await asyncio.sleep(pause)
            await service.engine.start()
            freeze_loaded_objects()
            await warm_up(service)
            self._state.service = service
        except Exception as error:  # libraries raise all kinds
            return error if isinstance(error, EngineError) else EngineError(f"It did not start: {error}")
        return None


async def death(engine: Engine) -> EngineError:
    """Wait until an engine has failed, and return its error. One that is elsewhere may be back at any time."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            if engine.in_process:
                await engine.health()
        except EngineError as error:
            return error


def freeze_loaded_objects() -> None:
    """Leave all objects that are alive out of garbage collections: one that visits them would hold up every stream.

    Collections go on from here if they were switched off for the start.
    """
    collect_all()
    gc.freeze()
    gc.enable()


def collect_all() -> None:
    """Collect garbage among frozen objects too, such as the weights of an engine that has been stopped."""
    gc.unfreeze()
    gc.collect()
