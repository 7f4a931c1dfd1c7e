"""Whether `--model` names what can be served: a folder with a checkpoint, a known name, or a repository of a hub."""

import os
from collections.abc import Mapping
from pathlib import Path

from autotool_core.errors import AutoToolError
from autotool_core.modes import split_alias
from autotool_server import default_model
from autotool_server.engines.create import EngineName

Arguments = Mapping[str, str | bool | int | float]

EXAMPLE = "such as Qwen/Qwen3-8B"
CONFIGS = ("config.json", "params.json")
"""Files of which every checkpoint has one; the second is Mistral's."""
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "tekken.json")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
STORAGE = ("s3://", "gs://", "az://")
"""Prefixes of models in object storage, which vLLM reads."""
HUB_SECONDS = 5.0
FAULTS = {
    "EntryNotFound": "The model {model} on {hub} has no config.json and cannot be served. Give the name of a checkpoint.",
    "GatedRepo": "The model {model} is gated: accept its terms on {hub}/{model}, and set HF_TOKEN to your token.",
    "RevisionNotFound": "The model {model} on {hub} has no revision {revision}. Correct --engine-arg revision.",
    "RepoNotFound": "{no_folder} {hub} has no model {model} that you may read. Check its name; a private one needs HF_TOKEN.",
}
"""Sentences for the error codes of the hub: https://huggingface.co/docs/huggingface_hub/package_reference/utilities."""


def check(model: str, engine: EngineName, arguments: Arguments) -> None:
    """Raise AutoToolError if the model is certainly not there. `arguments`: those of the engine.

    A hub is only asked for a model that its cache does not have.
    """
    path = Path(model)
    if path.is_dir():
        _check_folder(path, engine, arguments)
    elif path.is_file():
        if engine != "vllm" or path.suffix != ".gguf":
            raise AutoToolError(f"{model} is a file. Give --model the folder of the checkpoint.")
    elif default_model.is_known(model) or (engine == "vllm" and (model.startswith(STORAGE) or _is_quantised_file(model))):
        pass  # fetched before the engine is made, or in one of vLLM's own forms
    elif _is_path(model):
        raise AutoToolError(
            f"There is no folder {model}. Give --model the folder of a checkpoint, or the name of one on the hub, {EXAMPLE}."
        )
    elif ":" in model:
        raise _colon(model)
    elif not _is_from_modelscope():
        _check_hub(model, engine, arguments)


def _is_path(model: str) -> bool:
    """Whether this can only be a path: a name on the hub is OWNER/NAME."""
    return model.startswith(("/", ".", "~")) or "\\" in model or (model.count("/") > 1 and ":" not in model)


def _is_quantised_file(model: str) -> bool:
    """Whether this is vLLM's form of a GGUF file on the hub, such as `unsloth/Qwen3-8B-GGUF:Q4_K_M`."""
    repository, _, kind = model.partition(":")
    return repository.count("/") == 1 and "gguf" in repository.lower() and bool(kind)


def _is_from_modelscope() -> bool:
    return os.environ.get("VLLM_USE_MODELSCOPE", "").lower() in {"1", "true"}


def _colon(model: str) -> AutoToolError:
    name, mode = split_alias(model)
    if mode is not None:
        return AutoToolError(
            f"{model} has a colon: the mode is no part of the model's name here. Give --model {name}; a request chooses the "
            f"mode, and --default-mode {mode} is for requests that do not."
        )
    return AutoToolError(
        f"{model} has a colon, which no name on the hub has (Ollama's names are not known here). Give the name on the hub, "
        f"{EXAMPLE}, or the folder of a checkpoint."
    )


def _check_folder(folder: Path, engine: EngineName, arguments: Arguments) -> None:
    if engine == "remote":
        if not _has(folder, TOKENIZERS):
            raise AutoToolError(f"The folder {folder} has no tokenizer. Give the folder of the remote model's tokenizer.")
        return
    if not _has(folder, CONFIGS) and not arguments.keys() & {"hf_config_path", "config_format"}:
        raise AutoToolError(f"The folder {folder} has no model: config.json is missing. {_instead_of(folder)}")
    if not _has(folder, WEIGHTS) and "load_format" not in arguments:
        raise AutoToolError(
            f"The folder {folder} has no weights, only config.json. Give a folder with the weights too (*.safetensors)."
        )


def _has(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _instead_of(folder: Path) -> str:
    """Return what to do about a folder without a model."""
    if (folder / "adapter_config.json").is_file():
        return "It holds a LoRA adapter: merge it into its base first."
    inside = sorted(path.parent for path in folder.glob("*/config.json"))
    return f"Did you mean {inside[0]}?" if inside else "Give --model the folder that has config.json, tokenizer and weights."


def _check_hub(model: str, engine: EngineName, arguments: Arguments) -> None:
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415 not needed for a folder
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415
    from huggingface_hub.utils import validate_repo_id  # noqa: PLC0415

    files = TOKENIZERS if engine == "remote" else CONFIGS
    revision, cache = (str(arguments[name]) if name in arguments else None for name in ("revision", "download_dir"))
    try:
        validate_repo_id(model)
    except HFValidationError:
        raise AutoToolError(
            f"{model} is neither a folder nor a name on the hub. Give the folder of a checkpoint, or a name {EXAMPLE}."
        ) from None
    if any(isinstance(try_to_load_from_cache(model, file, cache, revision), str) for file in files):
        return
    if constants.HF_HUB_OFFLINE:
        raise AutoToolError(
            f"{_no_folder(model)} the model is not in the cache of the hub, which HF_HUB_OFFLINE switches off. "
            "Unset it, or give --model the folder of a checkpoint."
        )
    _ask_hub(model, revision or "main", files)


def _no_folder(model: str) -> str:
    return f"There is no folder {model}, and"


def _ask_hub(model: str, revision: str, files: tuple[str, ...]) -> None:
    """Raise AutoToolError if the hub has none of the files, or if it does not answer."""
    import httpx  # noqa: PLC0415
    from huggingface_hub import constants  # noqa: PLC0415
    from huggingface_hub.utils import build_hf_headers  # noqa: PLC0415

    fault = None
    for file in files:
        url = f"{constants.ENDPOINT}/{model}/resolve/{revision}/{file}"
        try:
            # Not by the hub's client, which tries for minutes.
            answer = httpx.head(url, headers=build_hf_headers(), timeout=HUB_SECONDS, follow_redirects=True)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise AutoToolError(
                f"{_no_folder(model)} the hub {constants.ENDPOINT} cannot be reached. Connect to a network, "
                "set HF_ENDPOINT to a mirror of the hub, or give --model the folder of a checkpoint."
            ) from None
        fault = _fault(answer.headers.get("x-error-code", ""), answer.status_code)
        if fault is not FAULTS["EntryNotFound"]:
            break
    if fault is not None:
        raise AutoToolError(fault.format(model=model, hub=constants.ENDPOINT, revision=revision, no_folder=_no_folder(model)))


def _fault(code: str, status: int) -> str | None:
    """Return the sentence for the hub's answer; None for a model that may be there."""
    return FAULTS.get(code) or (FAULTS["RepoNotFound"] if status in {401, 404} else None)
