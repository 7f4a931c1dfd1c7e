"""Merging the adapters of several stages, each of which was trained on the merged result of the stages before it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from autotool_core.errors import AutoToolError

WEIGHTS = "adapter_model.safetensors"
DOWN, UP = "lora_A.weight", "lora_B.weight"


@dataclass(frozen=True, slots=True)
class _Adapter:
    config: LoraConfig
    tensors: dict[str, Tensor]

    @property
    def layers(self) -> set[str]:
        return {name.removesuffix(DOWN) for name in self.tensors if name.endswith(DOWN)}

    @property
    def scale(self) -> float:
        """Return the factor of the product of its matrices."""
        return self.config.lora_alpha / self.config.r


def merge_adapters(folders: Sequence[Path], out: Path, rank: int | None = None, share: float = 1.0) -> None:
    """Write an adapter, in bfloat16, whose product is the sum of the adapters' products; its rank is the sum of their ranks.

    With a smaller `rank` each layer's product is the nearest one of that rank in the Frobenius norm (Eckart and Young, 1936).
    The last stage's product is scaled by `share`, which interpolates between the stage's start and its end (Wortsman et al.,
    arXiv 2109.01903). Embedding rows are those of the last adapter. Raises AutoToolError if a folder holds no LoRA adapter
    or one of other layers than the first, and for a rank above the sum or above the smaller side of a layer.
    """
    adapters = [_read(folder) for folder in folders]
    for folder, adapter in zip(folders, adapters, strict=True):
        if adapter.layers != adapters[0].layers:
            raise AutoToolError(f"{folder}: its adapter has other layers than {folders[0]}: name stages of one base.")
    whole = sum(adapter.config.r for adapter in adapters)
    tensors = _summed(adapters, share)
    if rank is not None:
        _check_rank(rank, whole, tensors)
        _reduce_rank(tensors, adapters[0].layers, rank)
    config = replace(adapters[-1].config, r=rank or whole, lora_alpha=rank or whole, base_model_name_or_path=None)
    out.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(out))
    save_file({name: tensor.bfloat16().contiguous() for name, tensor in tensors.items()}, out / WEIGHTS)


def _read(folder: Path) -> _Adapter:
    if not (folder / WEIGHTS).exists():
        raise AutoToolError(f"{folder} holds no adapter: name the `adapter` folder of a run with LoRA.")
    config = LoraConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig) or config.rank_pattern or config.alpha_pattern or config.use_rslora:
        raise AutoToolError(f"{folder}: only LoRA with one rank for all layers can be merged.")
    return _Adapter(config, load_file(folder / WEIGHTS))


def _summed(adapters: Sequence[_Adapter], share: float) -> dict[str, Tensor]:
    scales = [adapter.scale for adapter in adapters[:-1]] + [share * adapters[-1].scale]
    # Other tensors, such as embedding rows, are not added: a later stage started from the values of the earlier one.
    summed = dict(adapters[-1].tensors)
    for layer in adapters[0].layers:
        summed[layer + DOWN] = torch.cat([adapter.tensors[layer + DOWN] for adapter in adapters])
        summed[layer + UP] = torch.cat(
            [scale * adapter.tensors[layer + UP] for scale, adapter in zip(scales, adapters, strict=True)], dim=1
        )
    return summed


def _check_rank(rank: int, whole: int, tensors: Mapping[str, Tensor]) -> None:
    if rank > whole:
        raise AutoToolError(f"rank: {rank} is more than the ranks of the stages together, {whole}.")
    side = min(tensor.shape[name.endswith(DOWN)] for name, tensor in tensors.items() if name.endswith((DOWN, UP)))
    if rank > side:
        raise AutoToolError(f"rank: {rank} is more than the smaller side of a layer, {side}.")


def _reduce_rank(tensors: dict[str, Tensor], layers: Iterable[str], rank: int) -> None:
    for layer in layers:
        out_basis, up = torch.linalg.qr(tensors[layer + UP].float())
        in_basis, down = torch.linalg.qr(tensors[layer + DOWN].float().T)
        left, values, right = torch.linalg.svd(up @ down.T)
        root = values[:rank].sqrt()
        tensors[layer + UP] = out_basis @ left[:, :rank] * root
        tensors[layer + DOWN] = root[:, None] * right[:rank] @ in_basis.T
