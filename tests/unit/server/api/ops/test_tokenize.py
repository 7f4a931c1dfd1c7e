"""Texts and conversations to token ids and back, in vLLM's form."""

import asyncio
from typing import Any

import httpx
import pytest
from support.serving import MODEL, Running, running, scripted

USER: Any = [{"role": "user", "content": "2+2? ünï 🙂"}]
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


async def post(server: Running, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client:
        return await client.post(path, json=body, headers=headers)


async def test_a_text_goes_to_ids_and_back() -> None:
    async with running(engine := scripted("x")) as server:
        text = "Hm, <|im_end|>\n\nünï 🙂"
        answer = (await post(server, "/tokenize", {"prompt": text, "return_token_strs": True})).json()
        assert answer["tokens"] == engine.tokenizer.encode(text)
        assert (answer["count"], answer["max_model_len"]) == (len(answer["tokens"]), 4096)
        assert "<|im_end|>" in answer["token_strs"]
        back = await post(server, "/detokenize", {"model": MODEL, "tokens": answer["tokens"]})
        assert back.json() == {"prompt": text}
        assert (await post(server, "/tokenize", {"prompt": ""})).json()["tokens"] == []
        assert (await post(server, "/detokenize", {"tokens": []})).json() == {"prompt": ""}
        assert (await post(server, "/tokenize", {"prompt": text})).json()["token_strs"] is None


@pytest.mark.parametrize("mode", ["auto", "long", "short"])
async def test_messages_are_those_of_a_chat_completion(mode: str) -> None:
    async with running(engine := scripted("</think>\n\nFour.")) as server:
        body = {"messages": USER, "tools": [TOOL], "mode": mode}
        counted = (await post(server, "/tokenize", body)).json()
        completion = await server.client.chat.completions.create(
            model=MODEL, messages=USER, tools=[TOOL], extra_body={"mode": mode}
        )
        # In auto, what follows the decision comes after the prompt.
        asked = engine.requests[0].prompt_ids
        assert counted["tokens"] == list(asked)[: counted["count"]]
        assert mode == "auto" or counted["count"] == len(asked) == completion.usage.prompt_tokens  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(("thinks", "mode"), [(True, "long"), (False, "short")])
async def test_the_template_arguments_choose_the_mode(thinks: bool, mode: str) -> None:
    async with running(scripted("x")) as server:
        body = {"messages": USER, "chat_template_kwargs": {"enable_thinking": thinks}}
        tokens = (await post(server, "/tokenize", body)).json()["tokens"]
        assert tokens == (await post(server, "/tokenize", {"messages": USER, "mode": mode})).json()["tokens"]


async def test_messages_can_be_rendered_without_a_generation_prompt() -> None:
    async with running(engine := scripted("x")) as server:
        for mode in ("auto", "long", "short"):
            body = {"messages": USER, "add_generation_prompt": False, "mode": mode}
            tokens = (await post(server, "/tokenize", body)).json()["tokens"]
            assert engine.tokenizer.decode(tokens) == "<|im_start|>user\n2+2? ünï 🙂<|im_end|>\n"


async def test_what_does_not_fit_the_context_is_counted_too() -> None:
    async with running(scripted("x")) as server:
        long = [{"role": "user", "content": "x" * 100_000}]
        for body in ({"prompt": "x" * 100_000}, {"messages": long}):
            assert (await post(server, "/tokenize", body)).json()["count"] >= 100_000


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/tokenize", {}, 400, None),
        ("/tokenize", {"prompt": "x", "messages": USER}, 400, None),
        ("/tokenize", {"prompt": ["x"]}, 400, "prompt"),
        ("/tokenize", {"prompt": "x", "model": "swordfish"}, 404, "model"),
        ("/tokenize", {"messages": USER, "model": "swordfish"}, 404, "model"),
        ("/tokenize", {"messages": [{"role": "swordfish"}]}, 400, "messages.0.role"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens.0"),
        ("/detokenize", {"tokens": [999999]}, 400, "tokens"),
        ("/detokenize", {"tokens": [1], "model": "swordfish"}, 404, "model"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(path: str, body: dict[str, Any], status: int, field: str | None) -> None:
    async with running(scripted("x")) as server:
        answer = await post(server, path, body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)
        assert "swordfish" not in answer.text


async def test_a_key_is_needed_where_the_server_has_one_and_unknown_fields_are_named() -> None:
    async with running(scripted("x"), api_key="k") as server:
        assert (await post(server, "/tokenize", {"prompt": "x"})).status_code == 401
        answer = await post(server, "/tokenize", {"prompt": "x", "frobnicate": 1}, authorization="Bearer k")
        assert (answer.status_code, answer.headers["x-autotool-ignored"]) == (200, "frobnicate")


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
@pytest.mark.parametrize("end", ["the client leaves", "the server stops"])
async def test_work_on_a_text_ends_with(end: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Future()

    async with running(scripted("x")) as server:
        monkeypatch.setattr(server.state.service.texts, "run", never)
        asked = asyncio.create_task(post(server, path, {"prompt": "x", "tokens": [1]}))
        await begun.wait()
        if end == "the client leaves":
            asked.cancel()
        else:
            server.state.shutdown.cut()
            assert (await asked).status_code == 503
        await server.idle()
