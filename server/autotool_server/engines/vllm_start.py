"""Start vLLM in this process, with its engine core and workers in processes that end with this one."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, cast

from autotool_core.errors import EngineError
from autotool_core.extras import install_vllm
from autotool_server.engines.child_errors import ChildErrors
from autotool_server.engines.child_processes import ending_with_this, family
from autotool_server.engines.vllm_errors import start_error

if TYPE_CHECKING:
    import psutil
    from transformers import PreTrainedTokenizerBase
    from vllm.v1.engine.async_llm import AsyncLLM


Argument = str | int | float | bool


def check_installed() -> None:
    """Raise EngineError if vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(f"vLLM is not installed: {install_vllm()}.")


def import_library() -> None:
    """Import vLLM, which takes tens of seconds. Raises EngineError if it is not installed."""
    check_installed()
    # vLLM reads this when it is imported. Its default level logs hundreds of lines.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    for module in ("autotool_server.engines.vllm_args", "vllm.v1.engine.async_llm"):
        importlib.import_module(module)


def load(model: str, engine_args: Mapping[str, Argument], *, may_fork: bool) -> tuple[AsyncLLM, list[psutil.Process]]:
    """Load a model. Return the engine and its processes, which end when the calling thread does.

    `may_fork`: whether they may be forked from this process; else they are new ones, which import vLLM again. Raises
    EngineError, with the cause that they have written, if it does not start.
    """
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415 vLLM is an optional extra
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    from autotool_server.engines import vllm_args  # noqa: PLC0415

    arguments = vllm_args.parse(model, engine_args)
    # At this level nobody has asked for vLLM's log.
    errors = ChildErrors(holds=os.environ["VLLM_LOGGING_LEVEL"] in {"ERROR", "CRITICAL"})
    try:
        with _uninterrupted_children(), errors.inherited(), ending_with_this() as processes:
            # The context selects the defaults of `vllm serve`, such as the tokens of a batch, which favour a fast first token.
            context = UsageContext.OPENAI_API_SERVER
            config = arguments.create_engine_config(context)
            vllm_args.add_scheduler(config)
            choose_start(may_fork=may_fork)
            gc.freeze()  # else the collections of a forked process would visit, and so copy, all that this one has
            log_requests, no_stats = arguments.enable_log_requests, arguments.disable_log_stats
            llm = AsyncLLM.from_vllm_config(
                config, usage_context=context, enable_log_requests=log_requests, disable_log_stats=no_stats
            )
    except Exception as error:
        gc.unfreeze()
        raise start_error(errors.failed(), error) from error
    errors.started()
    return llm, family(processes)


def choose_start(*, may_fork: bool) -> None:
    """Choose how vLLM starts its processes. `may_fork`: whether they may be forked from this one."""
    if not may_fork:
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    elif os.environ.get("VLLM_CPU_OMP_THREADS_BIND") == "nobind":
        # vLLM has set spawn, for variables by which OpenMP binds its threads when a process begins; here none are bound.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"


def tokenizer_of(llm: AsyncLLM, source: str) -> PreTrainedTokenizerBase:
    """Return vLLM's tokenizer; another one where that is the one of mistral-common, or reads texts unlike its file."""
    from autotool_server.engines import checkpoint  # noqa: PLC0415 imports transformers

    tokenizer = cast("PreTrainedTokenizerBase", llm.get_tokenizer())
    serves = hasattr(tokenizer, "backend_tokenizer") and checkpoint.is_faithful(tokenizer, source)
    return tokenizer if serves else checkpoint.load_tokenizer(source)


@contextmanager
def _uninterrupted_children() -> Iterator[None]:
    """Start processes that do not get Ctrl-C, which a terminal sends to all of them.

    They would end at once, and running requests with them. The server ends them when the requests have ended.
    """
    resource_tracker.ensure_running()  # its start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
