"""How a base is loaded: precision, attention and quantization."""

import os
from importlib.util import find_spec
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from transformers import BitsAndBytesConfig

from autotool_core.errors import AutoToolError


class LoadSettings(BaseModel):
    """How the weights of a base are loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights. `bfloat16` halves their memory. For LoRA, whose own weights stay in float32; a training of
    all weights, whose small steps would be lost in it, is refused unless DeepSpeed or FSDP keeps them in float32."""
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] | None = None
    """Attention of transformers; None for the model's own default. FlashAttention needs a GPU, `dtype = "bfloat16"` and its
    package, `flash-attn` or `flash-attn-3`; `share` has an attention of its own."""
    load_in_4bit: bool = False
    """QLoRA (arXiv 2305.14314): the weights are held in 4 bits (NF4, by bitsandbytes), and LoRA is trained on them. The result
    is merged into the base in the precision of `dtype`."""

    @model_validator(mode="after")
    def _flash_is_half(self) -> Self:
        if (self.attn_implementation or "").startswith("flash") and self.dtype != "bfloat16":
            raise ValueError('attn_implementation: FlashAttention computes in bfloat16: set dtype = "bfloat16"')
        return self

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `from_pretrained`. Raises AutoToolError if a package is not installed, or no GPU is there."""
        arguments: dict[str, Any] = {"dtype": self.dtype}
        if self.attn_implementation is not None:
            _require_flash(self.attn_implementation)
            arguments["attn_implementation"] = self.attn_implementation
        if self.load_in_4bit:
            _require("bitsandbytes", "bitsandbytes", "base.load_in_4bit")
            # Otherwise they are loaded onto the first GPU by every process.
            gpu = int(os.environ.get("LOCAL_RANK", "0"))
            arguments["device_map"] = {"": gpu if torch.cuda.is_available() else "cpu"}
            arguments["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=getattr(torch, self.dtype),
            )
        return arguments


def _require_flash(name: str) -> None:
    packages = {
        "flash_attention_2": ("flash_attn", "flash-attn"),
        "flash_attention_3": ("flash_attn_interface", "flash-attn-3"),
    }
    if name in packages:
        # Without a GPU the package cannot be installed either.
        if not torch.cuda.is_available():
            raise AutoToolError(f"base.attn_implementation={name} needs a GPU: leave it out on this machine.")
        _require(*packages[name], f"base.attn_implementation={name}")


def _require(module: str, package: str, setting: str) -> None:
    if find_spec(module) is None:
        raise AutoToolError(f"{setting} needs the package {package}: `pip install {package}`, or leave the setting out.")
