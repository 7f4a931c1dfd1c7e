"""A cache layer of transformers 5.19 with room for more tokens, so that a decoded token does not copy all before it."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

SPARE_TOKENS = 64
"""Room that is made at once. More is copied less often and takes more memory."""


class GrowingLayer(DynamicLayer):
    """A `DynamicLayer` whose keys and values (B, heads, tokens, head size) are the beginning of buffers."""

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens, and return all keys and values. They may be changed by methods of `DynamicLayer` in between."""
        if self.keys is None or self.values is None or self.get_seq_length() == 0:
            return super().update(key_states, value_states, *args, **kwargs)
        length = self.get_seq_length() + key_states.shape[-2]
        self._key_buffer = _append(self.keys, key_states, self._key_buffer)
        self._value_buffer = _append(self.values, value_states, self._value_buffer)
        self.keys, self.values = self._key_buffer[..., :length, :], self._value_buffer[..., :length, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, without the buffers of all."""
        super().batch_select_indices(indices)
        self._key_buffer = self._value_buffer = None


def _append(held: Tensor, new: Tensor, buffer: Tensor | None) -> Tensor:
    """Return a buffer with `held` and then `new`: the given one if it begins with `held` and has room."""
    start, end = held.shape[-2], held.shape[-2] + new.shape[-2]
    # A buffer that is kept alive shares its address with its own views alone.
    if buffer is None or buffer.data_ptr() != held.data_ptr() or buffer.shape[-2] < end:
        buffer = held.new_empty((*held.shape[:-2], end + SPARE_TOKENS, held.shape[-1]))
        buffer[..., :start, :] = held
    buffer[..., start:end, :] = new
    return buffer
