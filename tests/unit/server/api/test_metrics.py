import httpx
from support.serving import Running, running, scripted

USER = [{"role": "user", "content": "2+2?"}]


async def page(server: Running) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{server.url.removesuffix('/v1')}/metrics")).text
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


async def test_a_request_is_accounted_for() -> None:
    async with running(scripted("Hm.</think>\n\nFour.", log_odds=50.0)) as server, httpx.AsyncClient() as client:
        await client.post(f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": "auto"})
        await client.post(f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": "nope"})
        values = await page(server)
    assert values['autotool_requests_total{mode="auto",resolved="long",status="200"}'] == 1
    assert values['autotool_requests_total{mode="none",resolved="none",status="400"}'] == 1
    assert values['autotool_tokens_total{kind="reasoning",resolved="long"}'] == 4
    assert values['autotool_tokens_total{kind="content",resolved="long"}'] == 8
    assert values['autotool_tokens_total{kind="decision",resolved="long"}'] == 1
    assert values["autotool_p_long_count"] == 1
    assert values["autotool_requests_in_flight"] == 0
    for name in ("time_to_first_token", "time_to_first_content_token", "time_per_output_token", "request"):
        assert values[f'autotool_{name}_seconds_count{{resolved="long"}}'] == 1


async def test_first_content_is_not_first_token() -> None:
    async with running(scripted("x" * 50 + "</think>\n\nFour.")) as server, httpx.AsyncClient() as client:
        await client.post(f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": "long"})
        values = await page(server)
    first, content = (
        values[f'autotool_time_to_first_{name}_seconds_sum{{resolved="long"}}'] for name in ("token", "content_token")
    )
    assert content > first


async def test_the_prompt_is_counted_once_as_in_usage() -> None:
    async with running(scripted("Four.")) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short", "n": 3}
        usage = (await client.post(f"{server.url}/chat/completions", json=body)).json()["usage"]
        values = await page(server)
    counted = {kind: values[f'autotool_tokens_total{{kind="{kind}",resolved="short"}}'] for kind in ("prompt", "content")}
    assert counted == {"prompt": usage["prompt_tokens"], "content": usage["completion_tokens"]}
