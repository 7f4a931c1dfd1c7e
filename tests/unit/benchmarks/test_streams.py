"""The measurement of an engine's streams, over an engine that costs nothing."""

from typing import Any

from autotool_bench.perf import streams
from autotool_server.engines.scripted import ScriptedEngine


async def test_every_stream_decodes_its_own_prompt(capsys: Any) -> None:
    tokenizer: Any = range(1000)
    engine = ScriptedEngine(tokenizer, (), lambda _: list(range(50)))
    await streams._measure(engine, [3], streams.Shape(input_tokens=20, output_tokens=16))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["3", "streams"]
    assert lines[1].endswith(" MiB resident")
    requests = engine.requests[-3:]
    assert {(len(request.prompt_ids), request.max_tokens) for request in requests} == {(20, 16)}
    assert len({tuple(request.prompt_ids) for request in requests}) == 3


async def test_tokens_and_times_are_those_of_all_streams() -> None:
    tokenizer: Any = range(1000)
    engine = ScriptedEngine(tokenizer, (), lambda _: list(range(50)))
    result = await streams._run(engine, 3, streams.Shape(input_tokens=20, output_tokens=16))
    assert (result.streams, result.tokens) == (3, 48)
    assert 0 < result.gap < result.seconds
