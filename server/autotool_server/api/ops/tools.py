"""`GET /v1/tools` lists the server's tools; `POST /v1/tools/{name}/accept` lets a changed tool be called again."""

from typing import Any

from fastapi import APIRouter, Request

from autotool_server.api import auth
from autotool_server.api.state import state_of
from autotool_server.tools.base import Tool

router = APIRouter()


@router.get("/v1/tools")
async def list_tools(request: Request) -> dict[str, Any]:
    """Return every server tool with its schema."""
    state = state_of(request)
    auth.authorize(auth.bearer_key(request), state.settings)
    return {"object": "list", "data": [_description(tool) for tool in state.service.registry.tools.values()]}


@router.post("/v1/tools/{name}/accept")
async def accept_tool(request: Request, name: str, fingerprint: str = "") -> dict[str, Any]:
    """Enable a tool that was disabled because it changed, in the form that the operator has read."""
    state = state_of(request)
    auth.authorize_operator(auth.bearer_key(request), state.settings)
    return _description(state.service.registry.accept(name, fingerprint))


def _description(tool: Tool) -> dict[str, Any]:
    spec = tool.spec
    return {
        "object": "tool",
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        "read_only": spec.policy.read_only,
        "idempotent": spec.policy.idempotent,
        "repeatable": spec.policy.repeatable,
        "approval": spec.policy.approval,
        "timeout": spec.policy.timeout,
        "max_result_bytes": spec.policy.max_result_bytes,
        "disabled": spec.disabled,
        "fingerprint": spec.fingerprint,
    }
