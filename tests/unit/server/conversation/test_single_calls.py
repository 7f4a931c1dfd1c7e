"""Models whose chat template has no form for several calls of one turn: a turn makes one."""

from typing import Any

import pytest
from support.serving import MODEL, running, scripted
from support.tiny import CHAT_TEMPLATE, make_tokenizer

CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
REFUSES = (
    "{% for m in messages %}{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}"
    "{% endfor %}"
)

WRITES_ONE = CHAT_TEMPLATE.replace("message.tool_calls or []", "(message.tool_calls or [])[:1]")


@pytest.mark.parametrize(("template", "calls"), [(CHAT_TEMPLATE, 2), (REFUSES + CHAT_TEMPLATE, 1), (WRITES_ONE, 1)])
async def test_a_turn_makes_one_call_where_the_template_does_not_take_several(template: str, calls: int) -> None:
    engine = scripted(f"{CALL}\n{CALL}")
    engine.tokenizer = make_tokenizer(template)
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    async with running(engine) as server:
        answer = await server.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "?"}], tools=tools, extra_body={"mode": "short"}
        )
    assert len(answer.choices[0].message.tool_calls or ()) == calls
