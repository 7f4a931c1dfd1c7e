"""The tokenizers of models from scratch."""

from support.training import SIZES

from autotool_training import scratch


def test_each_checkpoint_has_a_tokenizer_of_its_own() -> None:
    one, other = (scratch.make(SIZES, seed=0).tokenizer for _ in range(2))
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    one.add_tokens(["<added>"])
    assert len(one) == len(other) + 1
