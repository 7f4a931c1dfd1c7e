"""Base models and checkpoints: markers as tokens, the modes in the chat template, the profile next to the weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from autotool_core import tool_formats
from autotool_core.chat_template import ChatTemplate
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.profile import FILE_NAME, TEMPLATE_ARGUMENTS, Profile, ThinkFormat
from autotool_core.recognition import prompt_before_block, recognise
from autotool_server import default_model
from autotool_server.default_model.build import prepare_base
from autotool_server.engines.checkpoint import read_tokenizer
from autotool_server.engines.profiles import carried_by
from autotool_training.common.loading import LoadSettings
from autotool_training.patches import bitsandbytes_cpu, malloc

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
"""Appended to a chat template; an undefined mode means that the model chooses. SHORT stands for what the template lacks."""
NO_PROMPT = "{%- set asks = add_generation_prompt %}{%- set add_generation_prompt = false %}"
SHORT_PREFIX = """{%- else %}
{{- '<think>\\n\\n</think>\\n\\n' }}
"""

TRAINED_PROFILE = "smollm2-autotool"
"""The name that the profile of a trained checkpoint has in logs and errors."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with its tokenizer and profile."""

    model: Any
    """A causal model of transformers."""
    tokenizer: Any
    """The model's fast tokenizer, whose chat template switches modes."""
    profile: Profile

    def save(self, folder: Path, weights: Mapping[str, Any] | None = None) -> None:
        """Write a folder that this server, stock vLLM, SGLang and transformers load. `weights`: None for the model's own."""
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)
        (folder / FILE_NAME).write_text(self.profile.model_dump_json(indent=2) + "\n")


def is_finished(folder: Path) -> bool:
    """Return whether the stage whose folder it is has ended: the profile is written last."""
    return (folder / FILE_NAME).exists()


def load_finished(folder: Path, loading: LoadSettings | None = None) -> Checkpoint | None:
    """Return the checkpoint that a stage has written into a folder, loaded like its base; None if it has not ended."""
    return load_checkpoint(str(folder), loading=loading) if is_finished(folder) else None


def load_checkpoint(source: str, *, trust_remote_code: bool = False, loading: LoadSettings | None = None) -> Checkpoint:
    """Load a folder, a hub id or a name that `autotool serve` knows, and prepare it for training.

    `smollm2-135m` is the trained default model, and `smollm2-135m-base` what it was trained from.
    Raises AutoToolError if it cannot be loaded, has no chat template, or if `loading` needs a package that is not installed.
    """
    loading = loading or LoadSettings()
    arguments = loading.arguments()
    if not torch.cuda.is_available():
        malloc.keep_freed_memory()
    path = default_model.resolve(source)
    try:
        tokenizer = read_tokenizer(path, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(path, **arguments, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise AutoToolError(f"No model can be loaded from {source}: name a checkpoint's folder or hub id.") from error
    if loading.load_in_4bit:
        bitsandbytes_cpu.keep_differentiable(model)
    if not tokenizer.chat_template:
        raise AutoToolError(f"The base {source} has no chat template: train its -Instruct sibling, or add chat_template.jinja.")
    carried = carried_by(path)
    return Checkpoint(model, tokenizer, carried.without_decision()) if carried else prepare(model, tokenizer)


def load_tokenizer(folder: Path) -> Checkpoint:
    """Return a saved checkpoint without its weights, for a server that has them. Raises AutoToolError if it has no profile."""
    profile = carried_by(str(folder))
    if profile is None:
        raise AutoToolError(f"{folder} has no {FILE_NAME}: name a checkpoint that `autotool train` has saved.")
    return Checkpoint(None, read_tokenizer(str(folder)), profile)


def load_step(folder: Path, base: Callable[[], Checkpoint], loading: LoadSettings | None = None) -> Checkpoint:
    """Load a checkpoint that a run saved between its steps: whole weights, or an adapter of the run's base.

    `loading` is of whole weights, and `base` may not be one of 4 bits, into which no adapter can be merged without loss. Either
    way the model has the folder as its name, by which the runs that start from it know it (`resume.base_identity`).
    """
    if not (folder / "adapter_config.json").exists():
        return load_checkpoint(str(folder), loading=loading)
    start = base()
    model = PeftModel.from_pretrained(start.model, str(folder)).merge_and_unload()
    model.name_or_path = str(folder)
    # PEFT has frozen the weights, which a run without LoRA trains.
    model.requires_grad_(True)
    return Checkpoint(model, start.tokenizer, start.profile)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder in the order of their steps; the folder itself if it holds none."""
    return [path for path in numbered_checkpoints(folder) if (path / FILE_NAME).exists()] or [folder]


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that a trainer has saved into a folder, complete or not, in the order of their steps."""
    return sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def prepare(model: Any, tokenizer: Any) -> Checkpoint:
    """Give a base the markers as tokens, a template that switches modes, and the profile that fits the template.

    Raises AutoToolError for a family whose think block has other markers, which its template would go on to write.
    """
    _check_markers(tokenizer)
    prepare_base(model, tokenizer)
    profile = Profile(name=TRAINED_PROFILE, tool_format=tool_formats.recognise(tokenizer.chat_template))
    if "'auto'" not in tokenizer.chat_template:
        tokenizer.chat_template = _with_modes(tokenizer, profile)
    return Checkpoint(model, tokenizer, profile)


def _check_markers(tokenizer: Any) -> None:
    think, ours = recognise(tokenizer).profile.think, ThinkFormat()
    if think is not None and (think.open, think.close) != (ours.open, ours.close):
        raise AutoToolError(
            f"The base has a think block of its own, {think.open} … {think.close}. Only bases with {ours.open} … {ours.close}, "
            "or without a think block, can be trained to choose."
        )


def _with_modes(tokenizer: Any, profile: Profile) -> str:
    """Return the chat template of a base with the modes behind its generation prompt."""
    source, think = tokenizer.chat_template, profile.think or ThinkFormat()
    template = ChatTemplate(tokenizer, profile.tool_format)
    prompts = {mode: template.generation_prompt(arguments) for mode, arguments in TEMPLATE_ARGUMENTS.items()}
    head = prompt_before_block(template, think.open, think.close)
    if {*prompts.values()} == {head}:
        return source + MODES.replace("SHORT", SHORT_PREFIX)
    if prompts == {Mode.LONG: head, Mode.AUTO: head, Mode.SHORT: head + profile.prefix(Mode.SHORT)}:
        # Templates such as Qwen3's already close the block for `enable_thinking=false`, and lack the other modes.
        return source + MODES.replace("SHORT", "")
    # The template opens or closes the block in a way of its own, so its generation prompt is written here in its place.
    asked = MODES.replace("SHORT", SHORT_PREFIX).replace("add_generation_prompt", "asks")
    return f"{NO_PROMPT}{source}{{%- if asks %}}{{{{- {json.dumps(head, ensure_ascii=False)} }}}}{{%- endif %}}{asked}"
