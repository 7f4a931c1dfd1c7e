"""`GET /v1/tools` lists the server's tools; `POST /v1/tools/{name}/accept` lets a changed tool be called again."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from autotool_server.api import auth
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.state import state_of
from autotool_server.tools.base import Approval, Tool

router = APIRouter()


class ToolEntry(BaseModel):
    """A server tool."""

    object: Literal["tool"] = "tool"
    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments."""
    read_only: bool
    idempotent: bool
    repeatable: bool
    approval: Approval
    timeout: float
    """Seconds for one call."""
    max_result_bytes: int
    disabled: str | None
    """The reason why the tool cannot be called until the operator accepts it; null for an enabled tool."""
    fingerprint: str
    """A hash of the description and the parameters."""


class ToolList(BaseModel):
    """All server tools."""

    object: Literal["list"] = "list"
    data: list[ToolEntry]


@router.get("/v1/tools")
@documented(Operation(answer=ToolList))
async def list_tools(request: Request) -> ToolList:
    """Return every server tool that the key may use, with its schema."""
    service = auth.authorize([auth.bearer_key(request)], state_of(request)).service
    tools = service.registry.tools.items()
    return ToolList(data=[_entry(tool) for name, tool in tools if service.caller.may_use_tool(name)])


@router.post("/v1/tools/{name}/accept")
@documented(Operation(answer=ToolEntry))
async def accept_tool(request: Request, name: str, fingerprint: str = "") -> ToolEntry:
    """Enable a tool that was disabled because it changed, in the form that the operator has read."""
    state = state_of(request)
    auth.authorize_operator(auth.bearer_key(request), state.settings)
    return _entry(state.service.registry.accept(name, fingerprint))


def _entry(tool: Tool) -> ToolEntry:
    spec = tool.spec
    return ToolEntry(
        name=spec.name,
        description=spec.description,
        parameters=spec.parameters,
        read_only=spec.policy.read_only,
        idempotent=spec.policy.idempotent,
        repeatable=spec.policy.repeatable,
        approval=spec.policy.approval,
        timeout=spec.policy.timeout,
        max_result_bytes=spec.policy.max_result_bytes,
        disabled=spec.disabled,
        fingerprint=spec.fingerprint,
    )
