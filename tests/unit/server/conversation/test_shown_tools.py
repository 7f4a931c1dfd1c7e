"""Models whose chat template leaves out the tools of a request."""

from typing import Any

import pytest
from openai import BadRequestError
from support.serving import MODEL, Running, running, scripted
from support.tiny import CHAT_TEMPLATE, make_tokenizer

HIDES = CHAT_TEMPLATE.replace("if tools", "if false")
ASKS_FOR_SYSTEM = CHAT_TEMPLATE.replace("if tools", "if tools and messages[0].role == 'system'")
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("add", "sub")
]


async def ask(server: Running, content: Any = "?", **fields: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": content}]
    body: dict[str, Any] = {"model": MODEL, "messages": messages, "tools": TOOLS, **fields}
    await server.client.chat.completions.create(**body, extra_body={"mode": "short"})


def answering(template: str) -> Any:
    engine = scripted("Four.")
    engine.tokenizer = make_tokenizer(template)
    return engine


async def test_tools_that_the_model_would_not_see_are_refused() -> None:
    async with running(answering(HIDES)) as server:
        for content in ("?", "Call add."):
            with pytest.raises(BadRequestError, match="chat template does not show it tools") as refused:
                await ask(server, content)
            assert refused.value.param == "tools"
        # These are told to the model in another way, or not meant to be called.
        await ask(server, "Call add or sub.")
        await ask(server, [{"type": "text", "text": "Call add or sub."}])
        await ask(server, tool_choice="none")
        await ask(server, tools=[])


async def test_a_template_may_show_tools_only_behind_a_system_message() -> None:
    async with running(answering(ASKS_FOR_SYSTEM)) as server:
        await ask(server)
