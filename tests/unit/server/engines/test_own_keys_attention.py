"""Attention over each request's own keys, in the real paged cache, against plain attention of every request alone."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import GptOssConfig, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.generation.continuous_batching.distributed import DistributedHelper
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState
from transformers.models.auto import AutoModelForCausalLM

from autotool_server.engines.transformers import attention

HEADS, SIZE, LAYER, PAGE = 4, 16, 1, 8
TINY: Any = {"vocab_size": 8, "hidden_size": HEADS * SIZE, "intermediate_size": 8, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": HEADS, "head_dim": SIZE}
EAGER: Any = {"attn_implementation": "eager"}
# Tokens of each request in each forward: prefills in one and in several parts, decoding, and requests that come and go.
FORWARDS = ((7, 40, 1, 64, 33), (1, 1, 5, 1, 0), (1, 1, 30, 0, 9), (1, 1, 1, 0, 1), (1, 0, 0, 0, 1))


def make_cache(config: LlamaConfig, dtype: torch.dtype = torch.float32) -> PagedAttentionCache:
    options = ContinuousBatchingConfig(page_size=PAGE, num_blocks=64, max_batch_tokens=256, max_memory_percent=0.9)
    options.max_blocks_per_request = 0
    helper = DistributedHelper(None, None, {})
    cache = PagedAttentionCache(config, options, torch.device("cpu"), helper, dtype=dtype)
    cache.cache_tensor.view(dtype).normal_()  # what earlier requests have left in the pages
    return cache


class Requests:
    """Requests with random queries, keys and values, of which a forward takes the next ones."""

    def __init__(self, lengths: Sequence[int], key_heads: int, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.dtype = dtype
        self.states = [RequestState(str(number), [0] * length) for number, length in enumerate(lengths)]
        shapes = (HEADS, key_heads, key_heads)
        self.parts = [[torch.randn(1, heads, length, SIZE, dtype=dtype) for heads in shapes] for length in lengths]

    def expected(self, number: int) -> torch.Tensor:
        """Return plain causal attention of one whole request; shape (tokens, heads, size)."""
        query, key, value = self.parts[number]
        key, value = (states.repeat_interleave(HEADS // states.shape[1], 1) for states in (key, value))
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3)[0].transpose(0, 1)

    def forward(self, cache: PagedAttentionCache, counts: Sequence[int]) -> list[torch.Tensor]:
        """Take so many tokens of each request; return the outputs of each, shape (tokens, heads, size)."""
        batch, writes, taken = [], [[]], []
        for number, count in enumerate(counts):
            state, past = self.states[number], self.states[number].position_offset
            if count:
                assert cache.can_store_request_tokens(state, count)
                cache.extend_read_and_write_indices(state.request_id, past, count, None, writes)
                state.position_offset += count
                batch.append(FutureRequestState(state, True, {}, count))
                taken.append([part[:, :, past : past + count] for part in self.parts[number]])
        query, key, value = (torch.cat(parts, 2) for parts in zip(*taken, strict=True))
        groups = attention.plan(batch, cache, self.dtype)
        module: Any = SimpleNamespace(layer_idx=LAYER)
        index = [torch.tensor(write) for write in writes]
        output, _ = attention.attend(
            module, query, key, value, None, 0.3, cache=cache, attention_plan=groups, write_index=index
        )
        return list(output[0].split([count for count in counts if count]))


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_every_request_gets_the_output_that_it_has_alone(key_heads: int) -> None:
    cache = make_cache(LlamaConfig(**TINY, num_key_value_heads=key_heads))
    requests = Requests([sum(counts) for counts in zip(*FORWARDS, strict=True)], key_heads)
    done: list[list[torch.Tensor]] = [[] for _ in requests.states]
    for counts in FORWARDS:
        outputs = iter(requests.forward(cache, counts))
        for number, count in enumerate(counts):
            if count:
                done[number].append(next(outputs))
    for number, parts in enumerate(done):
        torch.testing.assert_close(torch.cat(parts), requests.expected(number), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("left", ["nan", "inf", "max"])
def test_a_request_is_untouched_by_what_another_has_left(dtype: torch.dtype, left: str) -> None:
    cache = make_cache(LlamaConfig(**TINY, num_key_value_heads=2), dtype)
    cache.cache_tensor.view(dtype).fill_(torch.finfo(dtype).max if left == "max" else float(left))
    requests = Requests((8, 41), 2, dtype)
    prefilled, decoded = requests.forward(cache, (7, 40)), requests.forward(cache, (1, 1))
    for number, output in enumerate(map(torch.cat, zip(prefilled, decoded, strict=True))):
        torch.testing.assert_close(output, requests.expected(number), atol=5e-2, rtol=5e-2)


def test_a_request_with_a_fault_of_its_own_leaves_those_beside_it_alone() -> None:
    cache = make_cache(LlamaConfig(**TINY, num_key_value_heads=2), torch.float16)
    requests = Requests((40, 40), 2, torch.float16)
    for part in requests.parts[0]:
        part[:] = torch.nan
    faulty, sound = requests.forward(cache, (40, 40))
    assert faulty.isnan().all()
    torch.testing.assert_close(sound, requests.expected(1), atol=1e-2, rtol=1e-2)


def test_no_request_is_padded_to_twice_its_length() -> None:
    cache = make_cache(LlamaConfig(**TINY, num_key_value_heads=2))
    lengths = (1, 5, 9, 17, 40, 41, 100, 130)
    batch: list[FutureRequestState] = []
    for number, length in enumerate(lengths):
        state = RequestState(str(number), [0] * length, position_offset=length - 1)
        assert cache.can_store_request_tokens(RequestState(str(number), []), length)
        state.position_offset = length
        batch.append(FutureRequestState(state, True, {}, 1))
    groups = attention.plan(batch, cache, torch.float32)
    assert sorted(int(row) for group in groups for row in group.sources.flatten()) == list(range(len(lengths)))
    for group in groups:
        own = [-(-lengths[int(row)] // PAGE) for row in group.sources.flatten()]
        assert max(own) == group.pages.shape[1] < 2 * min(own)


@pytest.mark.parametrize(
    ("config", "served"),
    [
        (LlamaConfig(**TINY), True),
        (MistralConfig(**TINY, sliding_window=None), True),
        (MistralConfig(**TINY, sliding_window=4), False),
        (GptOssConfig(**TINY, num_local_experts=2), False),
        (LlamaConfig(**TINY, **EAGER), False),
    ],
)
def test_models_with_windows_or_sinks_keep_the_attention_of_the_library(config: Any, served: bool) -> None:
    assert attention.serves(AutoModelForCausalLM.from_config(config)) is served


def test_sinks_alone_keep_the_attention_of_the_library() -> None:
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    assert attention.serves(model)
    layer: Any = model.model.layers[0].self_attn
    layer.sinks = torch.nn.Parameter(torch.zeros(HEADS))
    assert not attention.serves(model)


@pytest.mark.parametrize("feature", attention.FEATURES)
def test_a_layer_that_asks_for_more_is_refused(feature: str) -> None:
    nothing, module = torch.empty(0), torch.nn.Identity()
    extra: Any = {feature: 30.0}
    with pytest.raises(ValueError, match="Identity needs another attention"):
        attention.attend(module, nothing, nothing, nothing, None, cache=None, attention_plan=(), write_index=(), **extra)
