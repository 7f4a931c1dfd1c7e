"""`GET /v1/models` lists the served model and an alias for each mode that it can do."""

from typing import Any

from fastapi import APIRouter, Request

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server.api import auth
from autotool_server.api.state import state_of
from autotool_server.conversation.service import ConversationService

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    """Return OpenAI's list of models."""
    state = state_of(request)
    auth.authorize(auth.bearer_key(request), state.settings)
    return {"object": "list", "data": _models(state.service)}


@router.get("/v1/models/{name:path}")
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """Return a model by its name or alias."""
    state = state_of(request)
    auth.authorize(auth.bearer_key(request), state.settings)
    for model in _models(state.service):
        if model["id"] == name:
            return model
    raise InvalidRequestError(
        "This model is not served here. GET /v1/models lists what is.", "model", code="model_not_found", status=404
    )


def _models(service: ConversationService) -> list[dict[str, Any]]:
    modes = [mode for mode in Mode if mode not in service.renderer.refusals]
    names = [service.model, *(f"{service.model}:{mode}" for mode in modes)]
    shared = {"object": "model", "created": service.started, "owned_by": "autotool-server", "root": service.model}
    return [{"id": name, **shared, "max_model_len": service.engine.max_model_len} for name in names]
