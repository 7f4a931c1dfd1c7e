"""The response object of a job: what was asked, how far it has come, and what it used."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from autotool_server.api.responses.request import SERVER_LABEL
from autotool_server.api.responses.schemas import FunctionTool, NamedToolChoice, ResponsesRequest, ServerTool
from autotool_server.conversation.job import Job
from autotool_server.engines.base import Sampling
from autotool_server.tools.base import Tool
from autotool_server.tools.registry import Registry


class ResponseObject:
    """The response object as JSON values. It is kept up to date while the job runs."""

    def __init__(self, job: Job, body: ResponsesRequest, registry: Registry, *, is_stored: bool) -> None:
        self.job = job
        self.value: dict[str, Any] = {
            "id": job.id,
            "object": "response",
            "created_at": int(time.time()),
            "completed_at": None,
            "status": "in_progress",
            "model": job.model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "usage": None,
            "store": is_stored,
            **_echo(body, job.sampling),
            "tools": [tool for given in body.tools if (tool := _tool(given, registry))],
        }

    def end(self, output: Sequence[dict[str, Any]], *, is_cut: bool) -> None:
        """Complete the object with its output. `is_cut`: a limit of tokens ended it."""
        self.value["status"] = "incomplete" if is_cut else "completed"
        self.value["incomplete_details"] = {"reason": "max_output_tokens"} if is_cut else None
        if not is_cut:
            self.value["completed_at"] = int(time.time())
        self._account(output)

    def fail(self, message: str, output: Sequence[dict[str, Any]] = ()) -> None:
        """Complete the object after an error."""
        self.value["status"] = "failed"
        self.value["error"] = {"code": "server_error", "message": message}
        self._account(output)

    def cancel(self) -> None:
        """Complete the object after it was cancelled."""
        self.value["status"] = "cancelled"
        self._account(())

    def _account(self, output: Sequence[dict[str, Any]]) -> None:
        self.value["output"] = list(output)
        self.value["usage"] = _usage(self.job)
        self.value["autotool"] = self.job.record()


def _usage(job: Job) -> dict[str, Any]:
    used = job.usage()
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": 0},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.prompt + used.completion,
    }


def _echo(body: ResponsesRequest, sampling: Sampling) -> dict[str, Any]:
    """Return the parts of the object that repeat the request, with the sampling that holds where it left that out."""
    return {
        "background": body.background,
        "frequency_penalty": sampling.frequency_penalty,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls,
        "presence_penalty": sampling.presence_penalty,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": body.reasoning.effort, "summary": body.reasoning.summary or body.reasoning.generate_summary},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "temperature": sampling.temperature,
        "text": _text(body),
        "tool_choice": _tool_choice(body),
        "top_logprobs": body.top_logprobs,
        "top_p": sampling.top_p,
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }


def _text(body: ResponsesRequest) -> dict[str, Any]:
    text_format = body.text.format
    written = text_format.model_dump(by_alias=True, exclude_none=True) if text_format is not None else {"type": "text"}
    return {"format": written, "verbosity": body.text.verbosity or "medium"}


def _tool_choice(body: ResponsesRequest) -> Any:
    choice = body.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    if isinstance(choice, NamedToolChoice) and choice.type == "server":
        return {"type": "mcp", "server_label": SERVER_LABEL, "name": choice.name}
    return choice.model_dump()


def _tool(tool: Any, registry: Registry) -> dict[str, Any] | None:
    """Return a tool as the object shows it: a server tool is one of an MCP server; other kinds are left out."""
    if isinstance(tool, FunctionTool):
        return {"type": "function", "description": None, "parameters": None, "strict": None} | tool.model_dump()
    if isinstance(tool, ServerTool):
        mcp = {"type": "mcp", "server_label": SERVER_LABEL, "allowed_tools": [tool.name]}
        return {**mcp, "require_approval": _require_approval(registry.named(tool.name))}
    return None


def _require_approval(tools: Mapping[str, Tool]) -> Any:
    """Return which of the tools need the user's approval: `never`, `always` (also if for the first call alone), or by name."""
    asking = [name for name, tool in tools.items() if tool.spec.policy.approval != "never"]
    if len(asking) in {0, len(tools)}:
        return "always" if asking else "never"
    return {"always": {"tool_names": asking}, "never": {"tool_names": [name for name in tools if name not in asking]}}
