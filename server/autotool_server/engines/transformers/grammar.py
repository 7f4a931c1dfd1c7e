"""Grammars of xgrammar: masks of the tokens that may come next."""

from collections.abc import Sequence

import torch
import xgrammar
from transformers import PreTrainedTokenizerBase

from autotool_core.errors import EngineError
from autotool_server.engines.base import grammar_error

# Requests bring their own schemas, so the cache of compiled grammars needs a limit.
CACHE_BYTES = 64 * 2**20


class Grammar:
    """The state of one request in its grammar. Not thread-safe."""

    def __init__(self, compiled: xgrammar.CompiledGrammar, stop_token_ids: Sequence[int], vocab_size: int) -> None:
        self._matcher = xgrammar.GrammarMatcher(compiled, override_stop_tokens=list(stop_token_ids))
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocab_size)

    def mask(self, logits: torch.Tensor) -> None:
        """Set the logits (shape: vocabulary) of all tokens that may not come next to minus infinity, in place.

        A stop token may come once the grammar is complete. Raises InvalidRequestError if no token may come.
        """
        if self._matcher.fill_next_token_bitmask(self._bitmask):
            if not self._bitmask.any():
                raise grammar_error()
            xgrammar.apply_token_bitmask_inplace(logits.unsqueeze(0), self._bitmask.to(logits.device))

    def accept(self, token_id: int) -> None:
        """Advance by a decoded token. Raises EngineError if the grammar does not allow it."""
        if not self._matcher.accept_token(token_id):
            raise EngineError("The grammar allows none of the model's tokens here.")


class GrammarCompiler:
    """Compiles structural tags for one tokenizer and caches the latest. Thread-safe."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size)
        self._compiler = xgrammar.GrammarCompiler(info, cache_limit_bytes=CACHE_BYTES)
        self._vocab_size = vocab_size

    def compile(self, structural_tag: str, stop_token_ids: Sequence[int]) -> Grammar:
        """Return the grammar of a structural tag (JSON), which ends with one of the stop tokens.

        Raises InvalidRequestError, without the schema in its text.
        """
        try:
            compiled = self._compiler.compile_structural_tag(structural_tag)
        except RuntimeError:  # the base class of xgrammar's errors, whose texts quote the schema
            raise grammar_error() from None
        return Grammar(compiled, stop_token_ids, self._vocab_size)
