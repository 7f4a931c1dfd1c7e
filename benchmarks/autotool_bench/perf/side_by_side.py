"""Run one suite through this server in its three modes and through stock vLLM, and report both.

The command is `autotool bench perf side-by-side`. The servers run one after the other, with the same engine flags. Stock vLLM
sets the mode by `enable_thinking` and parses the answers by its own parsers. It has no budget for reasoning, so the maximum of
tokens alone ends it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from autotool_bench.config import RunConfig
from autotool_bench.perf import servers
from autotool_bench.report import write_report
from autotool_bench.run import OwnServer, execute
from autotool_bench.suites import load_suite
from autotool_core.modes import ModeSwitch
from autotool_server import default_model

ENGINE_FLAGS = {"max_model_len": "8192", "max_num_seqs": "32"}
STOCK_OPTIONS = (*servers.PARSERS, "--enable-prompt-tokens-details")
"""Options of stock vLLM: its parsers, and the number of cached prompt tokens in `usage`."""


def measure(config: RunConfig, model: Path | None) -> None:
    """Run the suite through both servers, then report. None stands for the default model."""
    # Errors in the suite's options are raised before an engine is started.
    load_suite(config.suite, config.categories, config.directory).close()
    model = model or default_model.ensure()
    flags = ENGINE_FLAGS | (servers.CPU_FLAGS if servers.is_cpu() else {})
    # The folder's own name, so that a run of another model in the same --out is refused.
    shared = ["--model", str(model), "--served-model-name", model.resolve().name]
    ours = servers.autotool("--engine", "vllm", *shared, *servers.engine_options(flags, ours=True))
    stock = servers.stock_vllm(*shared, *STOCK_OPTIONS, *servers.engine_options(flags, ours=False))
    config.out.mkdir(parents=True, exist_ok=True)
    execute_on(ours, config)
    stock_config = replace(config, modes=("long", "short"), switch=ModeSwitch.ENABLE_THINKING, max_reasoning_tokens=None)
    execute_on(stock, stock_config)
    write_report([config.out / ours.name, config.out / stock.name], config.out)


def execute_on(server: servers.Server, config: RunConfig) -> None:
    """Execute a run on a server that is started for it, and report it, in the folder of the server's name in `config.out`."""

    @contextmanager
    def start() -> Iterator[str]:
        with servers.started(server, config.out / f"{server.name}.log"):
            yield server.url

    execute(replace(config, out=config.out / server.name), OwnServer(None, start))
    write_report([config.out / server.name])
