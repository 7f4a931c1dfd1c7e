"""Answers with calls of server tools, for the scripted server of `fake_api`: `order` needs approval, `weather` does not."""

from typing import Any

TOOLS = [
    {"name": "shop.order", "description": "Orders something.\nAt once.", "approval": "always", "disabled": None},
    {"name": "weather", "description": "The weather of a city.", "approval": "never", "disabled": None},
    {"name": "files.read", "description": "Reads a file.", "approval": "never", "disabled": "The server changed it."},
]
ORDER = {"id": "call_1", "name": "shop.order", "arguments": '{"sku": "A100", "quantity": 3}'}
WEATHER = {"id": "call_2", "name": "weather", "arguments": '{"city": "Oslo"}'}
ASKING = [
    {
        "role": "assistant",
        "content": "I order.",
        "tool_calls": [
            {"id": ORDER["id"], "type": "function", "function": {"name": ORDER["name"], "arguments": ORDER["arguments"]}}
        ],
    }
]
"""The transcript of an answer that waits for approval."""


def waiting() -> dict[str, Any]:
    """Return what the record has of a request that waits for approval."""
    return {"stop_reason": "approval_required", "transcript": ASKING, "pending_calls": [ORDER]}


def decided(approvals: dict[str, bool]) -> dict[str, Any]:
    """Return what the record has of the request that goes on after the decisions."""
    result = {"role": "tool", "tool_call_id": ORDER["id"], "content": order_result(approvals)["content"]}
    return {"stop_reason": "answer", "transcript": [result, {"role": "assistant", "content": order_answer(approvals)}]}


def order_answer(approvals: dict[str, bool]) -> str:
    return "It is ordered." if approvals == {ORDER["id"]: True} else "Then not."


def order_result(approvals: dict[str, bool]) -> dict[str, Any]:
    """Return the event of the call's result."""
    approved = approvals == {ORDER["id"]: True}
    outcome, content = ("ok", "order 7, on its way") if approved else ("refused", "The user did not approve this call.")
    return {"event": "tool_result", "turn": 0, **ORDER, "outcome": outcome, "seconds": 0.25, "content": content}


def weather_events() -> list[dict[str, Any]]:
    done = {"outcome": "ok", "seconds": 0.0, "content": '{"sky": "rain",\n "degrees": 4}'}
    return [
        {"event": "tool_started", "turn": 0, **WEATHER},
        {"event": "tool_result", "turn": 0, **WEATHER, **done},
        {"event": "turn", "turn": 0},
    ]
