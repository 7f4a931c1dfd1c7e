"""The larger known bases as they were built: no test fetches them, and one that is not in the cache is skipped."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.real_tokenizers import folder, needs
from transformers import AutoModelForCausalLM

from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_server import default_model
from autotool_server.default_model import sources
from autotool_server.default_model.bases import BASES, MARKERS
from autotool_server.engines import profiles
from autotool_server.engines.checkpoint import configured_eos, read_tokenizer

NAMES = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
ROWS = 151_936
"""The rows of the embeddings in the original."""
TEXTS = (
    "It costs $1,024.50 in 2024, or  12 % less.\n\n\n- one\n\t- two\r\n",
    "def f(x: list[int]) -> str:\n    return '\\n'.join(map(str, x))  # 3.14e-10\n",
    "日本語のテキスト、中文文本。한국어 😀 naïve e\u0301 \u00a0 I'll you'RE",
    '<|im_start|>user\nHi<|im_end|>\n<tool_call>\n{"name": "f"}\n</tool_call><|endoftext|>[PAD151665]',
)
QUESTIONS = {"What is 17 + 25?": "42", "Hello!": "How can I"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def cached(name: str, *, trained: bool = False) -> Path:
    path = default_model.location(name, trained=trained)
    if not path.is_dir():
        name = name if trained or not BASES[name].is_trained else f"{name}{default_model.BASE}"
        pytest.skip(f"{name} is not in the cache: `autotool models inspect {name}` fetches it")
    return path


@pytest.fixture(params=NAMES)
def checkpoint(request: pytest.FixtureRequest) -> Path:
    return cached(request.param)


@needs("qwen3")
def test_the_tokenizer_of_the_gguf_is_qwens(checkpoint: Path) -> None:
    # Qwen3's has the same vocabulary and a few more tokens, such as the think markers and <tool_response>.
    built, real = read_tokenizer(str(checkpoint)), read_tokenizer(str(folder("qwen3")))
    own = Path(__file__).read_text().replace("tool_response", "").replace("think", "")
    for text in (*TEXTS, Path(default_model.__file__).read_text(), own):
        assert built.encode(text) == real.encode(text)
        assert built.decode(built.encode(text)) == real.decode(real.encode(text))


def test_the_tokenizer_has_the_hash_by_which_that_of_the_hub_is_recognised(checkpoint: Path) -> None:
    base = BASES[checkpoint.name.partition("-base-")[0]]
    tokenizer: Any = read_tokenizer(str(checkpoint))
    assert sources.digest(base, tokenizer) == base.tokenizer_sha256


def test_the_markers_are_tokens_within_the_rows_of_the_original(checkpoint: Path) -> None:
    tokenizer: Any = read_tokenizer(str(checkpoint))
    assert all(len(tokenizer.encode(marker)) == 1 for marker in MARKERS)
    assert max(tokenizer.get_vocab().values()) < ROWS
    config = json.loads((checkpoint / "config.json").read_text())
    assert (config["vocab_size"], config["tie_word_embeddings"], config["dtype"]) == (ROWS, True, "bfloat16")
    assert configured_eos(str(checkpoint)) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_weights_are_tied_and_half_as_large_as_in_float32(checkpoint: Path) -> None:
    with safe_open(checkpoint / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118 it is no mapping
        embeddings = weights.get_tensor("model.embed_tokens.weight")
    assert (len(embeddings), embeddings.dtype) == (ROWS, torch.bfloat16)


def test_one_without_an_adapter_is_served_like_any_base_that_was_not_trained_to_choose() -> None:
    checkpoint = cached("qwen2.5-coder-1.5b")
    tokenizer, renderer = _opened(checkpoint)
    assert set(renderer.refusals) == {Mode.LONG, Mode.AUTO}
    assert renderer.template.shows_tools
    assert renderer.prefix_ids[Mode.SHORT] == ()
    text = tokenizer.decode(renderer.render([{"role": "user", "content": "2+2?"}], [TOOL], Mode.SHORT))
    assert '{"type": "function", "function": {"name": "add"' in text
    assert text.endswith("<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n")


def test_the_trained_one_has_all_modes_and_thinks_where_it_is_told_to() -> None:
    checkpoint = cached("qwen2.5-coder-0.5b", trained=True)
    tokenizer, renderer = _opened(checkpoint)
    assert not renderer.refusals
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    prompt = renderer.render([{"role": "user", "content": "Add 2 and 3."}], [TOOL], Mode.LONG)
    text = tokenizer.decode(model.generate(torch.tensor([prompt]), max_new_tokens=400)[0, len(prompt) :].tolist())
    assert "</think>" in text
    assert "<tool_call>" in text.partition("</think>")[2]


@pytest.mark.parametrize(("name", "trained"), [(NAMES[0], False), (NAMES[0], True), (NAMES[1], False)])
def test_it_answers_plain_questions(name: str, *, trained: bool) -> None:
    checkpoint = cached(name, trained=trained)
    tokenizer, renderer = _opened(checkpoint)
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for question, answer in QUESTIONS.items():
        prompt = renderer.render([{"role": "user", "content": question}], (), Mode.SHORT)
        tokens = model.generate(torch.tensor([prompt]), max_new_tokens=32)[0, len(prompt) :]
        assert answer in tokenizer.decode(tokens.tolist())


def _opened(checkpoint: Path) -> tuple[Any, PromptRenderer]:
    tokenizer: Any = read_tokenizer(str(checkpoint))
    return tokenizer, PromptRenderer(tokenizer, profiles.find(None, str(checkpoint), tokenizer).profile)
