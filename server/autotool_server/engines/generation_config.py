"""The sampling that a checkpoint asks for: its `generation_config.json`, which transformers and vLLM read too.

https://docs.vllm.ai/en/latest/configuration/engine_args.html (`--generation-config`, `--override-generation-config`)
"""

import json
from pathlib import Path

from pydantic import ValidationError

from autotool_core.errors import AutoToolError
from autotool_server.settings.generation import GENERATION_CONFIG_FILE, GenerationConfig


def find(source: str, checkpoint: str) -> GenerationConfig:
    """Return the configuration of a source: `auto` for the checkpoint's own file, `vllm` for none, else a folder with one.

    `checkpoint`: a local folder or hub id. Without a file it asks for nothing. Raises AutoToolError for a file that cannot be
    used.
    """
    if source == "vllm":
        return GenerationConfig()
    if source != "auto":
        return _read(Path(source, GENERATION_CONFIG_FILE))
    from transformers.utils.hub import cached_file  # noqa: PLC0415 not needed for a folder, and takes seconds

    path = cached_file(
        checkpoint,
        GENERATION_CONFIG_FILE,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return _read(Path(path)) if path else GenerationConfig()


def check(source: str, model: str | None) -> None:
    """Raise AutoToolError for a file on this machine that `find` could not use. `model`: a local folder, or what a hub has."""
    folder = model if source == "auto" else source
    if source != "vllm" and folder and Path(folder, GENERATION_CONFIG_FILE).is_file():
        _read(Path(folder, GENERATION_CONFIG_FILE))


def _read(path: Path) -> GenerationConfig:
    mend = "Correct it, or start with --generation-config vllm."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise AutoToolError(f"{path} cannot be read as JSON. {mend}") from None
    if not isinstance(values, dict):
        raise AutoToolError(f"{path} holds no JSON object. {mend}")
    try:
        # Most of the file is about other things than sampling.
        return GenerationConfig(**{name: values.get(name) for name in GenerationConfig.model_fields})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise AutoToolError(f"{path}: {first['loc'][0]}: {first['msg']}. {mend}") from None
