"""Warnings of libraries that a user of `autotool train` can do nothing about, each left out by its own message alone."""

import logging
import warnings

WARNINGS = (
    # TRL names the versions of vLLM that it was tried with. The one here is pinned, and was tried with TRL.
    (UserWarning, "TRL currently supports vLLM versions"),
)
"""Category and beginning of each warning."""
LOG_MESSAGES = {
    # On a machine without a GPU, where vLLM's CPU build needs no Triton.
    "vllm.triton_utils.importing": "Triton is installed, but doesn't include CPU backend",
    # On a processor with AVX512-BF16, wherever bitsandbytes is installed; PEFT imports it.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward from kernels-community",
    # The trainer sets the model's special tokens to those of the tokenizer, as it should: the checkpoint has both.
    "transformers.trainer_utils": "The tokenizer has new PAD/BOS/EOS tokens",
}
"""Logger and beginning of each message."""


def quiet() -> None:
    """Leave these warnings out from now on. It must be called before the libraries are imported."""
    for category, message in WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    for name, message in LOG_MESSAGES.items():
        logging.getLogger(name).addFilter(_Without(message))


class _Without(logging.Filter):
    """Drops the messages that begin with a text."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is kept."""
        return not record.getMessage().startswith(self._beginning)
