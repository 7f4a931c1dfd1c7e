"""What `bench perf soak` sends to stock vLLM, and what it reads of a process tree."""

import subprocess
import sys
import time

import psutil

from autotool_bench.perf.soak import VARIANTS, bodies, in_stock_terms, resident


def test_stock_vllm_gets_the_same_requests_without_our_fields() -> None:
    for body, _ in bodies(len(VARIANTS)):
        stock = in_stock_terms(body)
        assert stock["chat_template_kwargs"] == {"enable_thinking": body["mode"] == "long"}
        kept = {name: value for name, value in body.items() if name not in {"mode", "max_reasoning_tokens"}}
        assert stock == {**kept, "chat_template_kwargs": stock["chat_template_kwargs"]}


def test_memory_is_told_by_process() -> None:
    held = "import subprocess; subprocess.run(['sleep', '60'])"
    parent = psutil.Popen([sys.executable, "-c", held], stdout=subprocess.DEVNULL)
    try:
        while [child.name() for child in parent.children()] != ["sleep"]:
            time.sleep(0.01)
        memory = resident(parent)
        assert memory.keys() == {parent.name(), "sleep"}
        assert memory[parent.name()] > memory["sleep"] > 0
    finally:
        for process in (*parent.children(), parent):
            process.kill()
        parent.wait()
