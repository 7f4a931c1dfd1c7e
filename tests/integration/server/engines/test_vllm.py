"""The arguments and the start of the vLLM engine; its output is tested in `test_engines.py`."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotool_core.errors import AutoToolError, EngineError
from autotool_server.engines import vllm_start
from autotool_server.engines.checkpoint import load_tokenizer
from autotool_server.engines.vllm import VllmEngine

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


async def test_vllm_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"'\.\[vllm(-cpu)?\]'"):
        await VllmEngine("anything").start()


@needs_vllm
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_model_length", 100, "max_model_length is not .*did you mean max_model_len"),
        ("zzzz", 1, "zzzz is not an engine argument of vLLM"),
        ("model", "other", "model is not"),
        ("max_model_len", "many", "max-model-len"),
    ],
)
async def test_unknown_or_invalid_engine_argument(base_model_dir: Path, name: str, value: Any, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        await VllmEngine(str(base_model_dir), engine_args={name: value}).start()


@needs_vllm
async def test_missing_checkpoint(tmp_path: Path) -> None:
    engine = VllmEngine(str(tmp_path / "nothing"))
    with pytest.raises(EngineError, match="vLLM did not start"):
        await engine.start()
    await engine.stop()


def put_in(monkeypatch: pytest.MonkeyPatch, model: Path, shutdown: Callable[..., None]) -> SimpleNamespace:
    """Let the next engine start without processes, and return vLLM's part of it."""

    async def nothing(*_: Any) -> None: ...

    config = SimpleNamespace(tokenizer=str(model), try_get_generation_config=dict[str, Any])
    llm = SimpleNamespace(model_config=config, is_sleeping=nothing, abort=nothing, shutdown=shutdown)
    llm.vllm_config = SimpleNamespace(
        model_config=SimpleNamespace(max_logprobs=20), scheduler_config=SimpleNamespace(scheduler_cls=None)
    )
    monkeypatch.setattr(vllm_start, "load", lambda *_, **__: (llm, []))
    monkeypatch.setattr(vllm_start, "tokenizer_of", lambda *_: load_tokenizer(str(model)))
    return llm


@needs_vllm
async def test_vllm_is_shut_down_once(base_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    llm = put_in(monkeypatch, base_model_dir, calls.append)
    engine = VllmEngine(str(base_model_dir))
    await engine.start()
    await engine.stop()
    llm.shutdown()  # as its destructor does
    assert len(calls) == 1


@needs_vllm
async def test_vllm_keeps_its_variables_while_its_engine_runs(base_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import envs

    put_in(monkeypatch, base_model_dir, lambda _: None)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "WARNING")
    engine = VllmEngine(str(base_model_dir))
    await engine.start()
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    assert envs.VLLM_LOGGING_LEVEL == "WARNING"
    await engine.stop()
    assert envs.VLLM_LOGGING_LEVEL == "ERROR"


@needs_vllm
async def test_a_score_has_the_time_by_which_it_is_due(base_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autotool_server.engines.vllm_params import delay_of

    asked: list[Any] = []

    def refuse(_: Any, params: Any, *__: Any, **___: Any) -> Any:
        asked.append(params)
        raise NotImplementedError

    llm = put_in(monkeypatch, base_model_dir, lambda _: None)
    llm.model_config.max_model_len, llm.generate = 100, refuse
    engine = VllmEngine(str(base_model_dir))
    await engine.start()
    with pytest.raises(NotImplementedError):
        await engine.score("test", [1], (2, 3), due=time.perf_counter() - 1000)
    await engine.stop()
    assert [delay_of(params) <= -1000 for params in asked] == [True]


@needs_vllm
def test_arguments_are_parsed_as_by_vllm_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.platforms import current_platform

    from autotool_server.engines import vllm_args

    monkeypatch.setattr(current_platform, "is_cpu", lambda: False)
    arguments = vllm_args.parse(
        "some/model",
        {"tensor_parallel_size": 4, "compilation_config": '{"mode": 0}', "enable_prefix_caching": False, "max_model_len": "4k"},
    )
    assert (arguments.model, arguments.tensor_parallel_size, arguments.max_model_len) == ("some/model", 4, 4000)
    assert arguments.enable_prefix_caching is False
    assert arguments.compilation_config.mode == 0
    # Nothing of ours on a GPU but the grammar's backend.
    assert (arguments.dtype, arguments.enforce_eager, arguments.block_size) == ("auto", False, None)
    assert arguments.structured_outputs_config.backend == "xgrammar"


@needs_vllm
def test_arguments_override_the_defaults_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.platforms import current_platform

    from autotool_server.engines import vllm_args

    monkeypatch.setattr(current_platform, "is_cpu", lambda: True)
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    arguments = vllm_args.parse("some/model", {})
    assert (arguments.dtype, arguments.enforce_eager, arguments.block_size) == ("float32", True, 32)
    assert arguments.kv_cache_memory_bytes == vllm_args.CPU_CACHE_BYTES
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    arguments = vllm_args.parse("some/model", {"dtype": "bfloat16", "enforce_eager": False, "block_size": 64})
    assert (arguments.dtype, arguments.enforce_eager, arguments.block_size) == ("bfloat16", False, 64)
    assert arguments.kv_cache_memory_bytes is None


@needs_vllm
@pytest.mark.parametrize("name", ["generation_config", "override_generation_config"])
def test_an_argument_that_is_a_setting_of_this_server_is_refused(name: str) -> None:
    from autotool_server.engines import vllm_args

    with pytest.raises(AutoToolError, match=f"give --{name.replace('_', '-')}"):
        vllm_args.parse("some/model", {name: "vllm"})
