"""A tokenizer small enough to build in a test: bytes, the newlines and markers that the modes need, ChatML; and a Llama."""

from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
Tools: {{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


SPECIAL = ("<|im_start|>", "<|im_end|>")


def make_tokenizer(
    chat_template: str | None = CHAT_TEMPLATE, markers: tuple[str, ...] = MARKERS, special: tuple[str, ...] = SPECIAL
) -> Any:
    """Every byte is a token; `\\n\\n` is one too, and so are the markers and the special tokens, whose last one ends a turn.

    A `Tokenizer`, which pyright cannot see.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*alphabet, "ĊĊ"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in special])
    backend.add_tokens([AddedToken(text) for text in markers])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=special[-1])
    tokenizer.chat_template = chat_template
    return tokenizer


def make_llama(tokenizer: Any, seed: int = 0, **changes: Any) -> "LlamaForCausalLM":
    """A random one of two layers; `changes` of its configuration."""
    # Their import takes longer than the start of a server, which needs the tokenizer alone.
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    return LlamaForCausalLM(LlamaConfig.from_dict({**sizes, **tokens, "max_position_embeddings": 512, **changes}))
