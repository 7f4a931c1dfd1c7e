"""How vLLM starts its processes."""

import os

import pytest

from autotool_server.engines.vllm_start import choose_start


@pytest.mark.parametrize(
    ("may_fork", "binding", "method"),
    [
        (True, "nobind", "fork"),  # nothing is bound, so that a process needs no variables when it begins
        (True, "0-3", "spawn"),  # as vLLM has chosen
        (True, None, "spawn"),
        (False, "nobind", "spawn"),  # the server has clients, and threads at work
    ],
)
def test_processes_are_forked_where_nothing_forbids_it(
    monkeypatch: pytest.MonkeyPatch, may_fork: bool, binding: str | None, method: str
) -> None:
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    if binding is not None:
        monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", binding)
    choose_start(may_fork=may_fork)
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == method
