"""The served model and its names."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.serving import MODEL, running, scripted

ALIASES = ("gpt-4o", "claude-haiku-4-5")
USER = [{"role": "user", "content": "?"}]


async def test_one_model_is_listed_with_context_and_modes() -> None:
    async with running(scripted("x"), model_aliases=ALIASES) as server:
        models = [model async for model in server.client.models.list()]
        assert [model.id for model in models] == [MODEL]
        extra = models[0].model_extra or {}
        assert (extra["max_model_len"], extra["modes"]) == (4096, ["auto", "long", "short"])
        assert extra["default_mode"] == "auto"
        async with httpx.AsyncClient() as client:
            listed = (await client.get(f"{server.url}/models")).json()
        assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, MODEL, MODEL)


async def test_the_dial_is_shown_where_the_server_has_one(tmp_path: Path) -> None:
    figures = {"accuracy": 0.5, "generated_tokens": 90.0, "thinking_rate": 0.25}
    steps = [{"bias": bias, "figures": figures, "choices": 1} for bias in (2.0, -2.0)]
    (tmp_path / "dial.json").write_text(json.dumps({"steps": steps}))
    for dial, shown in ((None, None), (tmp_path / "dial.json", [{"bias": -2.0, **figures}, {"bias": 2.0, **figures}])):
        async with running(scripted("x"), dial=None if dial is None else str(dial)) as server:
            models = [model async for model in server.client.models.list()]
            assert (models[0].model_extra or {})["dial"] == shown


async def test_aliases_of_modes_are_listed_if_the_server_lists_them() -> None:
    async with running(scripted("x"), list_mode_aliases=True, model_aliases="gpt-4o") as server:
        names = [model.id async for model in server.client.models.list()]
        modes = ("", ":auto", ":long", ":short")
        assert names == [f"{name}{mode}" for name in (MODEL, "gpt-4o") for mode in modes]
        long: Any = await server.client.models.retrieve(f"{MODEL}:long")
        assert long.default_mode == "long"


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}:long", *ALIASES, "gpt-4o:short"])
async def test_every_name_answers(name: str) -> None:
    async with running(scripted("</think>\n\nFour."), model_aliases=",".join(ALIASES)) as server:
        assert (await server.client.models.retrieve(name)).id == name
        extra = {} if ":" in name else {"mode": "short"}
        completion = await server.client.chat.completions.create(model=name, messages=USER, extra_body=extra)  # pyright: ignore[reportArgumentType]
        resolved = (completion.model_extra or {})["autotool"]["turns"][0]["resolved"]
        assert resolved == ("long" if name.endswith("long") else "short")


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4o:medium", "nobody:long"])
async def test_no_other_name_answers(name: str) -> None:
    async with running(scripted("x"), model_aliases='["gpt-4o"]') as server:
        with pytest.raises(openai.NotFoundError):
            await server.client.models.retrieve(name)
        with pytest.raises(openai.NotFoundError):
            await server.client.chat.completions.create(model=name, messages=USER)  # pyright: ignore[reportArgumentType]


async def test_anthropics_client_lists_the_model() -> None:
    anthropic = pytest.importorskip("anthropic")
    async with running(scripted("x"), api_key="k") as server:
        client = anthropic.AsyncAnthropic(base_url=server.url.removesuffix("/v1"), api_key="k")
        models = [model async for model in client.models.list()]
        assert [(model.id, model.type, model.max_input_tokens) for model in models] == [(MODEL, "model", 4096)]
        assert models[0].created_at.year >= 2026
        assert (await client.models.retrieve(MODEL)).id == MODEL
        await client.close()
