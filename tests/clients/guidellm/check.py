"""GuideLLM: a sweep of three rates, and requests one by one over each protocol that it speaks."""

import json
import os
import subprocess
from pathlib import Path

from checks import API_KEY, ROOT_URL, TOKENIZER, run

REQUESTS = 5


def guidellm(backend: str, *options: str) -> None:
    command = [
        *("guidellm", "run", "--backend", f"kind=openai_http,target={ROOT_URL},api_key={API_KEY}{backend}"),
        *("--tokenizer", f"kind=huggingface_auto,model={TOKENIZER}"),
        *("--data", "kind=synthetic_text,prompt_tokens=256,output_tokens=128"),
        *("--constraint", f"kind=max_requests,count={REQUESTS}", "--output", "kind=json,path=out.json"),
        "--disable-console",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=os.environ)
    print(done.stdout[-3000:], done.stderr[-3000:])
    if done.returncode:
        raise AssertionError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.stdout[-300:])
    for benchmark in json.loads(Path("out.json").read_text())["benchmarks"]:
        totals = benchmark["metrics"]["request_totals"]
        if totals["errored"] or not totals["successful"]:
            raise AssertionError(f"{totals}")


def sweep() -> None:
    guidellm("", "--profile", "kind=sweep,sweep_size=3")


def completions() -> None:
    guidellm(",request_format=/v1/completions", "--profile", "kind=synchronous")


def chat() -> None:
    guidellm(",request_format=/v1/chat/completions", "--profile", "kind=synchronous")


def responses() -> None:
    guidellm(",request_format=/v1/responses", "--profile", "kind=synchronous")


run("guidellm", sweep, completions, chat, responses)
