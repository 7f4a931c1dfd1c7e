"""What is kept of earlier answers: bounded, by mode and set of tools."""

from typing import Any

import pytest
from support.serving import MODEL, running, scripted

from autotool_core.modes import ResolvedMode
from autotool_server.conversation import history
from autotool_server.conversation.history import Taken

PARAMETERS = {"type": "object", "properties": {}}


def test_a_limit_cuts_tokens_and_seconds() -> None:
    assert Taken(100, 2.0).within(25) == Taken(25, 0.5)
    assert Taken(100, 2.0).within(100) == Taken(100, 2.0).within(None) == Taken(100, 2.0)


async def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_TOOL_SETS", 2)
    monkeypatch.setattr(history, "MIN_ANSWERS", 1)
    async with running(scripted("x")) as server:
        create: Any = server.client.chat.completions.create
        for name in ("a", "b", "a", "c"):
            tools = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}}]
            message = {"role": "user", "content": "?"}
            await create(model=MODEL, messages=[message], tools=tools, extra_body={"mode": "short"})
        kept = server.state.history
        found = {name: kept.sample(ResolvedMode.SHORT, [{"function": {"name": name}}]) for name in "abc"}
    assert {name: (sample.level, len(sample.answers)) for name, sample in found.items()} == {
        "a": ("tools", 2),
        "b": ("mode", 4),
        "c": ("tools", 1),
    }
