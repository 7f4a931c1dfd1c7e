"""`GET /v1/tools`: the server's tools. `POST /v1/tools/{name}/accept`: an operator lets a changed one be called again."""

from typing import Any

from fastapi import APIRouter, Request

from autotool_server.api import auth
from autotool_server.api.state import state_of
from autotool_server.tools.base import Tool

router = APIRouter()


@router.get("/v1/tools")
async def list_tools(request: Request) -> dict[str, Any]:
    """Every server tool with its schema."""
    state = state_of(request)
    auth.authorize(request, state.settings)
    return {"object": "list", "data": [_described(tool) for tool in state.service.registry.tools.values()]}


@router.post("/v1/tools/{name}/accept")
async def accept_tool(request: Request, name: str, fingerprint: str = "") -> dict[str, Any]:
    """Let a disabled tool be called, as the operator has read it."""
    state = state_of(request)
    auth.authorize_operator(request, state.settings)
    return _described(state.service.registry.accept(name, fingerprint))


def _described(tool: Tool) -> dict[str, Any]:
    spec = tool.spec
    return {
        "object": "tool",
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        "read_only": spec.policy.read_only,
        "idempotent": spec.policy.idempotent,
        "timeout": spec.policy.timeout,
        "max_result_bytes": spec.policy.max_result_bytes,
        "disabled": spec.disabled,
        "fingerprint": spec.fingerprint,
    }
