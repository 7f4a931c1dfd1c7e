"""The tokenizers of checkpoints whose files transformers reads otherwise than they say."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.tiny import CHAT_TEMPLATE, make_tokenizer
from transformers import AutoTokenizer

from autotool_core.errors import EngineError
from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_core.recognition import recognise
from autotool_server.engines import vllm_start
from autotool_server.engines.checkpoint import load_tokenizer

TEXT = "Hello  world, it's 12 naïve\n 日本"
SPECIAL = (
    *("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"),
    *("[/TOOL_RESULTS]", "[TOOL_CALLS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]"),
)


def save(folder: Path, tokenizer_class: str, model_type: str) -> None:
    make_tokenizer().save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": tokenizer_class}))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))


def save_tekken(folder: Path) -> None:
    """The file of a tokenizer of Mistral's: every byte is a token."""
    texts = [base64.b64encode(bytes([byte])).decode() for byte in range(256)]
    vocabulary = [{"rank": rank, "token_bytes": text, "token_str": None} for rank, text in enumerate(texts)]
    special = [{"rank": rank, "token_str": text, "is_control": True} for rank, text in enumerate(SPECIAL)]
    sizes = {"default_vocab_size": 256 + len(special), "num_vocab_tokens": 256, "default_num_special_tokens": len(special)}
    config = {"pattern": "[^ ]+| +", "version": "v3", **sizes}
    (folder / "tekken.json").write_text(json.dumps({"config": config, "vocab": vocabulary, "special_tokens": special}))
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))


@pytest.mark.parametrize(
    ("tokenizer_class", "model_type"),
    [("LlamaTokenizerFast", "llama"), ("LlamaTokenizer", "mistral"), ("Qwen2Tokenizer", "qwen2")],
)
def test_texts_are_read_as_the_file_says(tmp_path: Path, tokenizer_class: str, model_type: str) -> None:
    save(tmp_path, tokenizer_class, model_type)
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.encode(TEXT, add_special_tokens=False) == make_tokenizer().encode(TEXT)
    assert tokenizer.decode(tokenizer.encode(TEXT, add_special_tokens=False)) == TEXT
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", CHAT_TEMPLATE)


def test_mistrals_file_beside_the_usual_ones_changes_nothing(tmp_path: Path) -> None:
    save_tekken(tmp_path)
    save(tmp_path, "PreTrainedTokenizerFast", "mistral")
    assert load_tokenizer(str(tmp_path)).chat_template == CHAT_TEMPLATE


def test_mistrals_file_alone_is_served(tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    save_tekken(tmp_path)
    tokenizer: Any = load_tokenizer(str(tmp_path))
    assert tokenizer.decode(tokenizer.encode(TEXT, add_special_tokens=False)) == TEXT
    profile = recognise(tokenizer).profile
    assert (profile.tool_format.name, tokenizer.eos_token) == ("mistral_list", "</s>")
    prompt = PromptRenderer(tokenizer, profile).render([{"role": "user", "content": "?"}], (), Mode.SHORT)
    assert tokenizer.decode(prompt) == "<s>[INST]?[/INST]"


def test_the_vllm_engine_keeps_vllms_tokenizer_only_if_it_serves(tmp_path: Path) -> None:
    save(tmp_path, "LlamaTokenizerFast", "llama")
    faithful, unfaithful, of_mistral = make_tokenizer(), AutoTokenizer.from_pretrained(tmp_path), object()

    def chosen(loaded: object) -> Any:
        llm: Any = SimpleNamespace(get_tokenizer=lambda: loaded)
        return vllm_start.tokenizer_of(llm, str(tmp_path))

    assert chosen(faithful) is faithful
    for loaded in (unfaithful, of_mistral):
        assert chosen(loaded).encode(TEXT) == faithful.encode(TEXT)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No tokenizer could be loaded"):
        load_tokenizer(str(tmp_path))
