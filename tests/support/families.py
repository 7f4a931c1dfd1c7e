"""Families of models: the chat template, control tokens and architecture of each, as a tiny random checkpoint.

Templates are those of the checkpoints where a package has them (TRL, mistral-common); the others, in `chat_templates`, are
written from public descriptions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from autotool_core import tool_formats
from autotool_core.modes import Mode
from support.tiny import make_tokenizer

WRITTEN = Path(__file__).parent / "chat_templates"
SIZES: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 4096,
    # Far from the next best, so that the rounding of another batch changes no greedy token.
    "initializer_range": 0.5,
}
"""The sizes of every model; each architecture takes those that it has."""
THINK = ("<think>", "</think>")


@dataclass(frozen=True)
class Family:
    """A family of models."""

    name: str
    template: str
    """Where the chat template is from: `trl:NAME`, `mistral:VERSION`, `mistral:VERSION-think` or `written:NAME`."""
    tool_format: str | None
    """The format of its calls; None if its template has no calls."""
    config: str
    """The name of its transformers configuration."""
    special: tuple[str, ...]
    """Its special tokens, of which the last one ends a turn."""
    modes: frozenset[Mode]
    """The modes that it serves at least."""
    sizes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What its configuration needs beside `SIZES`."""
    batches: bool = True
    """Whether the transformers engine can batch its requests."""
    vllm: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """The engine arguments without which vLLM cannot serve it on a CPU."""

    def __str__(self) -> str:
        return self.name


WINDOW = {"sliding_window": 64}
HYBRID = {"layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16}
DELTA = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
}
# In bfloat16 another batch, or a cached prefix, may change a greedy token.
HALF = {"dtype": "bfloat16", "max_num_seqs": 1, "enable_prefix_caching": False}
NO_CACHE = {"enable_prefix_caching": False}
# The latent sizes are those that the kernels of vLLM have.
LATENT = {
    "q_lora_rank": 32,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 64,
    "v_head_dim": 32,
    "head_dim": 64,
    "topk_method": "noaux_tc",
}
IM = ("<|im_start|>", "<|im_end|>")
LLAMA = ("<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|eot_id|>")
LLAMA4 = ("<|header_start|>", "<|header_end|>", "<|eot|>")
ONE_EXPERT = {"num_experts_per_tok": 1}
DENSE = {"num_experts": None}
# vLLM reads `conv_dim` and `block_dim` of a checkpoint's configuration; the class of transformers has neither.
CONV = {"layer_types": ["conv", "full_attention"], "conv_dim": 64, "block_dim": 64}
GEMMA4 = ("<|turn>", "<|channel>", "<channel|>", "<|think|>", "<|tool>", "<tool|>", "<turn|>")
DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")
KIMI = ("<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_end|>")
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|assistant|>", "<|observation|>", "<|user|>")
MISTRAL = ("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[ARGS]", "</s>")
MAGISTRAL = ("[THINK]", "[/THINK]", *MISTRAL)
HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>")
GRANITE = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
COHERE = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
LONG, SHORT, AUTO = Mode.LONG, Mode.SHORT, Mode.AUTO
FAMILIES = (
    Family("llama-3.1", "trl:llama3_1", "llama3_json", "LlamaConfig", LLAMA, frozenset({SHORT})),
    Family("qwen3", "trl:qwen3", "hermes", "Qwen3Config", IM, frozenset({LONG, SHORT, AUTO})),
    Family("qwen3-moe", "trl:qwen3_instruct_2507", "hermes", "Qwen3MoeConfig", IM, frozenset({SHORT})),
    Family(
        "qwen3.6",
        "trl:qwen3_6",
        "qwen3_coder",
        "Qwen3_5TextConfig",
        IM,
        frozenset({LONG, SHORT}),
        sizes=DELTA,
        batches=False,
        vllm=HALF,
    ),
    Family(
        "deepseek-v3",
        "trl:deepseekv3",
        "deepseek_v3",
        "DeepseekV3Config",
        DEEPSEEK,
        frozenset({LONG}),
        sizes=LATENT,
        batches=False,
        vllm=HALF,
    ),
    Family(
        "deepseek-v3.1",
        "written:deepseek_v31",
        "deepseek_v31",
        "DeepseekV3Config",
        DEEPSEEK,
        frozenset({LONG, SHORT}),
        sizes=LATENT,
        batches=False,
        vllm=HALF,
    ),
    Family(
        "kimi-k2",
        "written:kimi_k2",
        "kimi_k2",
        "DeepseekV3Config",
        KIMI,
        frozenset({SHORT}),
        sizes=LATENT,
        batches=False,
        vllm=HALF,
    ),
    Family(
        "deepseek-v3.2",
        "written:deepseek_v32",
        "deepseek_v32",
        "DeepseekV3Config",
        DEEPSEEK,
        frozenset({LONG, SHORT}),
        sizes=LATENT,
        batches=False,
        vllm=HALF,
    ),
    Family("glm-4.5", "trl:glm4moe", "glm45", "Glm4MoeConfig", GLM, frozenset({LONG, SHORT})),
    Family(
        "minimax-m2",
        "written:minimax_m2",
        "minimax_m2",
        "MiniMaxM2Config",
        ("]~!b[", "]~b]", "[e~["),
        frozenset({LONG}),
        {"rotary_dim": 32, "scoring_func": "sigmoid", "use_routing_bias": True},
    ),
    Family("mistral-7b", "mistral:v3", "mistral_list", "MistralConfig", MISTRAL, frozenset({SHORT}), WINDOW),
    Family("ministral-3", "mistral:v13", "mistral", "Ministral3Config", MISTRAL, frozenset({SHORT})),
    Family("magistral", "mistral:v13-think", "mistral", "MistralConfig", MAGISTRAL, frozenset({LONG}), WINDOW),
    Family("gemma-3", "trl:gemma3", None, "Gemma3TextConfig", ("<start_of_turn>", "<end_of_turn>"), frozenset({SHORT}), WINDOW),
    Family("gemma-4", "trl:gemma4_v5", "gemma4", "Gemma4TextConfig", GEMMA4, frozenset({LONG, SHORT}), DENSE, batches=False),
    Family(
        "function-gemma",
        "written:function_gemma",
        "function_gemma",
        "Gemma3TextConfig",
        ("<start_of_turn>", "<end_of_turn>"),
        frozenset({SHORT}),
        sizes=WINDOW,
    ),
    Family(
        "llama-4",
        "written:llama4_pythonic",
        "pythonic",
        "Llama4TextConfig",
        LLAMA4,
        frozenset({SHORT}),
        ONE_EXPERT,
        batches=False,
    ),
    Family("granite-3", "written:granite3", "granite3", "GraniteConfig", GRANITE, frozenset({SHORT})),
    Family("lfm2", "trl:lfm2_v2", "lfm2", "Lfm2Config", IM, frozenset({SHORT}), CONV, batches=False, vllm=NO_CACHE),
    Family("gpt-oss", "trl:gptoss", "gpt_oss", "GptOssConfig", HARMONY, frozenset({LONG, SHORT}), WINDOW),
    Family("granite-4", "written:granite4", "hermes", "GraniteConfig", GRANITE, frozenset({SHORT})),
    Family(
        "granite-4-hybrid",
        "written:granite4",
        "hermes",
        "GraniteMoeHybridConfig",
        GRANITE,
        frozenset({SHORT}),
        sizes=HYBRID,
        batches=False,
        vllm=NO_CACHE,
    ),
    Family("cohere-2", "trl:cohere2", None, "Cohere2Config", COHERE, frozenset({SHORT}), WINDOW),
)


def chat_template(family: Family) -> str:
    """Return the chat template. Skips the test where the package that has it is not installed."""
    origin, name = family.template.split(":")
    if origin == "mistral":
        return _of_mistral(name)
    return ((WRITTEN if origin == "written" else _of_trl()) / f"{name}.jinja").read_text(encoding="utf-8")


def make_family_tokenizer(family: Family) -> Any:
    """Bytes, the family's special tokens, think markers and the markers of its calls, one token each."""
    known = family.tool_format in tool_formats.names()
    calls = tool_formats.get(family.tool_format).markers if family.tool_format and known else ()
    markers = tuple(marker for marker in (*THINK, *calls) if marker not in family.special)
    return make_tokenizer(chat_template(family), markers, family.special)


def save_checkpoint(family: Family, folder: Path, config: str | None = None) -> None:
    """Write a random model of two layers with its tokenizer. `config`: another architecture than the family's."""
    tokenizer = make_family_tokenizer(family)
    torch.manual_seed(0)
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    sizes = {**SIZES, **tokens, **({} if config else family.sizes)}
    model = AutoModelForCausalLM.from_config(getattr(transformers, config or family.config)(**sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _of_trl() -> Path:
    spec = find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("TRL is not installed")
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


def _of_mistral(name: str) -> str:
    templates = pytest.importorskip("mistral_common.integrations.chat_templates.template_generator")
    base = pytest.importorskip("mistral_common.tokens.tokenizers.base")
    version, _, thinks = name.partition("-")
    config = templates.TemplateConfig(version=base.TokenizerVersion(version), thinking_support=bool(thinks))
    return templates.build_chat_template(config)
