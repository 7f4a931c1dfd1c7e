"""Base models and checkpoints: markers as tokens, the modes in the chat template, the profile beside the weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from autotool_core.errors import AutoToolError
from autotool_core.profile import FILE_NAME, Profile
from autotool_server import default_model
from autotool_server.default_model.build import prepare_base
from autotool_server.engines.profiles import carried_by, fitting
from autotool_training.patches import malloc

MODES = """
{%- if add_generation_prompt %}
{%- if mode is defined and mode is not none %}
{{- {'long': '<think>\\n', 'short': '<think>\\n\\n</think>\\n\\n', 'auto': '<think>'}[mode] }}
{%- elif enable_thinking is not defined or enable_thinking is none %}
{{- '<think>' }}
{%- elif enable_thinking %}
{{- '<think>\\n' }}
SHORT{%- endif %}
{%- endif %}"""
"""What is put behind a chat template, for SHORT what it does not write itself: undefined means that the model chooses."""
SHORT = """{%- else %}
{{- '<think>\\n\\n</think>\\n\\n' }}
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with all that is served with it."""

    model: Any
    """A transformers causal model."""
    tokenizer: Any
    """Its fast tokenizer, with a chat template that switches modes."""
    profile: Profile

    def save(self, folder: Path, weights: Mapping[str, Any] | None = None) -> None:
        """Write what this server, stock vLLM, SGLang and transformers all load. `weights`: None for the model's own."""
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)
        (folder / FILE_NAME).write_text(self.profile.model_dump_json(indent=2) + "\n")


def finished(folder: Path) -> Checkpoint | None:
    """The checkpoint that a stage has written into a folder, if it has ended: the profile is the last that is written."""
    return load(str(folder)) if (folder / FILE_NAME).exists() else None


def load(source: str, *, trust_remote_code: bool = False) -> Checkpoint:
    """Load a folder, a hub id, or `default-base` (what the server's default model is trained from), made ready for training.

    Raises AutoToolError if nothing can be loaded from there, or if it has no chat template.
    """
    if not torch.cuda.is_available():
        malloc.keep_freed()
    where = str(default_model.ensure(trained=False)) if source == "default-base" else source
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(where, dtype="float32", trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise AutoToolError(f"No model can be loaded from {source}: name a checkpoint's folder or hub id.") from error
    if not tokenizer.chat_template:
        raise AutoToolError(f"The base {source} has no chat template: train its -Instruct sibling, or add chat_template.jinja.")
    carried = carried_by(where)
    return Checkpoint(model, tokenizer, carried) if carried else prepare(model, tokenizer)


def load_step(folder: Path, base: Callable[[], Checkpoint]) -> Checkpoint:
    """Load a checkpoint that a run saved on its way: whole weights, or an adapter, which goes onto the run's base."""
    if not (folder / "adapter_config.json").exists():
        return load(str(folder))
    start = base()
    return Checkpoint(PeftModel.from_pretrained(start.model, str(folder)).merge_and_unload(), start.tokenizer, start.profile)


def steps(folder: Path) -> list[Path]:
    """The checkpoints in a folder that holds several, in the order of their steps; else the folder itself."""
    return [path for path in numbered(folder) if (path / FILE_NAME).exists()] or [folder]


def numbered(folder: Path) -> list[Path]:
    """What a trainer has saved into a folder, whole or not, in the order of the steps."""
    return sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def prepare(model: Any, tokenizer: Any) -> Checkpoint:
    """Give a base the markers as tokens, a template that switches modes, and a profile."""
    prepare_base(model, tokenizer)
    template = tokenizer.chat_template
    if "'auto'" not in template:
        # Of Qwen3's kind are templates that close the block for `enable_thinking=false`, and know no other mode.
        tokenizer.chat_template += MODES.replace("SHORT", "" if "enable_thinking" in template else SHORT)
    return Checkpoint(model, tokenizer, fitting(tokenizer.chat_template))
