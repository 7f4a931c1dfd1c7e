"""`GET /v1/models` lists the served model; every name under which it answers can be looked up.

An entry has OpenAI's fields, Anthropic's and vLLM's, so that the clients of each read it.
"""

from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server.api import auth
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.state import state_of
from autotool_server.conversation.request_defaults import SAMPLING_NAMES
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.base import Sampling
from autotool_server.targets.dial import Dial

router = APIRouter()


class DialStep(BaseModel):
    """What the dial has measured at one reasoning bias."""

    bias: float
    accuracy: float
    """The share of the tasks that were solved."""
    generated_tokens: float
    """Mean decoded tokens of a task."""
    thinking_rate: float
    """The share of the turns that had reasoning."""


class ModelEntry(BaseModel):
    """A name of the served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix time, in seconds."""
    owned_by: str = "autotool-server"
    root: str
    """The model's own name."""
    max_model_len: int
    """The context, in tokens."""
    modes: list[Mode]
    """The modes that the model can do."""
    default_mode: Mode
    """The mode of requests that name none."""
    default_sampling: dict[str, float]
    """What requests get that leave their sampling out, by the fields' names."""
    dial: list[DialStep] | None
    """What the file of the setting dial has measured, in rising order of the bias; null without one."""
    type: Literal["model"] = "model"
    display_name: str
    created_at: str
    lifecycle: str = "active"
    max_input_tokens: int
    max_tokens: int


class ModelList(BaseModel):
    """The names of the served model."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]
    has_more: bool = False
    first_id: str
    last_id: str


@router.get("/v1/models")
@documented(Operation(answer=ModelList))
async def list_models(request: Request) -> ModelList:
    """Return the served model, and all of its other names if the server lists them."""
    state = auth.authorize(auth.every_key(request), state_of(request))
    service = state.service
    service.resolve_model(None, "model")
    names = _names(service) if state.settings.list_mode_aliases else [service.model]
    models = [_model(service, name) for name in names]
    return ModelList(data=models, first_id=names[0], last_id=names[-1])


@router.get("/v1/models/{name:path}")
@documented(Operation(answer=ModelEntry))
async def get_model(request: Request, name: str) -> ModelEntry:
    """Return the model by any of its names."""
    state = auth.authorize(auth.every_key(request), state_of(request))
    mode = state.service.resolve_model(name, "model")
    if mode is not None and mode in state.service.renderer.refusals:
        raise InvalidRequestError("The model cannot do this mode.", "model", code="model_not_found", status=404)
    return _model(state.service, name)


def _names(service: ConversationService) -> list[str]:
    """Return all names under which the model answers, each followed by those for its modes."""
    return [name for own in service.names for name in (own, *(f"{own}:{mode}" for mode in _modes(service)))]


def _modes(service: ConversationService) -> list[Mode]:
    """Return the modes that the model can do."""
    return [mode for mode in Mode if mode not in service.renderer.refusals]


def _default_sampling(sampling: Sampling) -> dict[str, float]:
    """Return what requests get that leave their sampling out, by the fields' names."""
    return {name: getattr(sampling, name) for name in SAMPLING_NAMES}


def _dial(dial: Dial | None) -> list[DialStep] | None:
    return None if dial is None else [DialStep(bias=step.bias, **step.figures.model_dump()) for step in dial.steps]


def _model(service: ConversationService, name: str) -> ModelEntry:
    context = service.engine.max_model_len
    return ModelEntry(
        id=name,
        created=service.started,
        root=service.model,
        max_model_len=context,
        modes=_modes(service),
        default_mode=service.resolve_model(name, "model") or service.default_mode,
        default_sampling=_default_sampling(service.defaults.sampling),
        dial=_dial(service.targets.dial),
        display_name=name,
        created_at=datetime.fromtimestamp(service.started, UTC).isoformat().replace("+00:00", "Z"),
        max_input_tokens=context,
        max_tokens=context,
    )
