"""What the messages before a request say about calls of server tools, and what the request decides about calls that wait.

A request ends with `approval_required` where the model makes calls that the user must approve. Its transcript then has calls
without results. The next request sends it back with a decision about each of these calls (docs/guides/tools.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.request import ConversationRequest
from autotool_server.tools.base import Tool
from autotool_server.tools.made import ApprovedCalls, MadeCalls
from autotool_server.tools.results import ALREADY_DONE, Outcome, Result, has_run, has_succeeded
from autotool_server.tools.server_call import ServerCall


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of an earlier message."""

    id: str
    name: str
    arguments: str
    """The JSON text that the model wrote."""
    result: str | None = None
    """None for a call without a result; that of the first one for a call that was answered from an earlier one."""

    def to_server_call(self, tool: Tool | None, *, approved: bool | None = None) -> ServerCall:
        """Return the call as one of the server, with its result if it has one."""
        result = Result(Outcome.OK, self.result) if self.result is not None else None
        return ServerCall(self.id, self.name, tool, self.arguments, complete=True, approved=approved, result=result)


@dataclass(frozen=True, slots=True)
class PastCalls:
    """The calls that were made before a request."""

    decided: Mapping[str, bool]
    """Whether the user approves, by the id of each call that waits."""
    waiting: Sequence[PastCall]
    """The calls that the request decides about."""
    answered: Sequence[PastCall]
    """The calls with results, of the whole conversation."""
    recent: Sequence[PastCall]
    """Those of them since the user's last message."""

    def to_run(self, tools: Mapping[str, Tool]) -> list[ServerCall]:
        """Return the calls that the request decides about, each with the decision."""
        return [call.to_server_call(tools[call.name], approved=self.decided[call.id]) for call in self.waiting]

    def made(self, approved: ApprovedCalls) -> MadeCalls:
        """Return the calls that a call of this request may repeat, and the tools that have run before."""
        made = MadeCalls(approved, {call.name for call in self.answered if has_succeeded(call.result or "")})
        for call in self.recent:
            if has_run(call.result or ""):
                made.add_earlier(call.to_server_call(None))
        return made


def past_calls(request: ConversationRequest, tools: Mapping[str, Tool]) -> PastCalls:
    """Return the calls of server tools in a request's messages.

    Raises InvalidRequestError unless the request decides about exactly those calls that wait for it.
    """
    waiting = _waiting(request.messages, tools)
    if request.tool_approvals is None:
        waiting = [call for call in waiting if tools[call.name].spec.policy.approval != "never"]
    _check_decisions(request, waiting)
    answered = [call for call in _answered(request.messages) if call.name in tools]
    recent = [call for call in _answered(_since_last_user(request.messages)) if call.name in tools]
    return PastCalls(request.tool_approvals or {}, waiting, answered, recent)


def _check_decisions(request: ConversationRequest, waiting: Sequence[PastCall]) -> None:
    field, messages = request.fields.tool_approvals, request.fields.messages
    decided, ids = (request.tool_approvals or {}).keys(), {call.id for call in waiting}
    if decided - ids:
        raise InvalidRequestError(
            f"{request.fields.decision} decides about a call that does not wait for it at the end of {messages}. Send a "
            "decision right after its call, and a new message of the user in a later request.",
            field,
        )
    if ids - decided:
        waits = f"At the end of {messages} a call of a server tool waits for the user's approval."
        raise InvalidRequestError(f"{waits} {request.fields.decide}", field)


def _waiting(messages: Sequence[Mapping[str, Any]], tools: Mapping[str, Tool]) -> list[PastCall]:
    """Return the calls of server tools without results in the last message that has calls, if only results follow it."""
    last = next((index for index in reversed(range(len(messages))) if messages[index]["role"] != "tool"), 0)
    return [call for call in _calls(messages[last:]) if call.result is None and call.name in tools]


def _answered(messages: Sequence[Mapping[str, Any]]) -> list[PastCall]:
    return [call for call in _calls(messages) if call.result is not None]


def _since_last_user(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    last = next((index for index in reversed(range(len(messages))) if messages[index]["role"] == "user"), 0)
    return messages[last:]


def _calls(messages: Sequence[Mapping[str, Any]]) -> Iterator[PastCall]:
    """Yield every call of the messages, in their order, with its result."""
    answers = [message for message in messages if message["role"] == "tool"]
    results = {answer.get("tool_call_id"): answer["content"].removeprefix(ALREADY_DONE) for answer in answers}
    for message in messages:
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield PastCall(call["id"], function["name"], function["arguments"], results.get(call["id"]))
