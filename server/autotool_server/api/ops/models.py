"""`GET /v1/models` lists the served model; every name under which it answers can be looked up.

An entry has OpenAI's fields, Anthropic's and vLLM's, so that the clients of each read it.
"""

from datetime import UTC, datetime
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
    """Return the served model, and its aliases for each mode if the server lists them."""
    state = state_of(request)
    auth.authorize(auth.any_key(request), state.settings)
    service = state.service
    aliases = [f"{service.model}:{mode}" for mode in _modes(service)] if state.settings.list_mode_aliases else []
    names = [service.model, *aliases]
    models = [_model(service, name) for name in names]
    return {"object": "list", "data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}


@router.get("/v1/models/{name:path}")
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """Return the model by any of its names."""
    state = state_of(request)
    auth.authorize(auth.any_key(request), state.settings)
    mode = state.service.resolve_model(name, "model")
    if mode is not None and mode in state.service.renderer.refusals:
        raise InvalidRequestError("The model cannot do this mode.", "model", code="model_not_found", status=404)
    return _model(state.service, name)


def _modes(service: ConversationService) -> list[Mode]:
    """Return the modes that the model can do."""
    return [mode for mode in Mode if mode not in service.renderer.refusals]


def _model(service: ConversationService, name: str) -> dict[str, Any]:
    context = service.engine.max_model_len
    return {
        "id": name,
        "object": "model",
        "created": service.started,
        "owned_by": "autotool-server",
        "default_mode": (service.resolve_model(name, "model") or service.settings.default_mode).value,
        "root": service.model,
        "max_model_len": context,
        "modes": [mode.value for mode in _modes(service)],
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(service.started, UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": context,
        "max_tokens": context,
    }
