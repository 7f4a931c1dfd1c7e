"""Check texts against structural tags."""

import xgrammar

from support.tiny import make_tokenizer


def accepts(tag: str | None, text: str) -> bool:
    """Return whether the grammar accepts a text followed by the end of the turn."""
    assert tag is not None
    tokenizer = make_tokenizer()
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, stop_token_ids=[tokenizer.eos_token_id])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_structural_tag(tag))
    return matcher.accept_string(text) and matcher.accept_token(tokenizer.eos_token_id)
