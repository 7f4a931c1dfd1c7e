"""A thin layer over the official `openai` client: `mode=` and the decision record (docs/guides/client.md)."""

from autotool_client.approvals import pending_calls
from autotool_client.client import AsyncAutoTool, AutoTool, ToolBudget
from autotool_client.record import DecisionRecord, PendingCall, TurnRecord, reasoning, record

__all__ = [
    "AsyncAutoTool",
    "AutoTool",
    "DecisionRecord",
    "PendingCall",
    "ToolBudget",
    "TurnRecord",
    "pending_calls",
    "reasoning",
    "record",
]
