"""Create the engine of the settings."""

import importlib.util

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.engines.base import Engine
from autotool_server.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """Return the engine of the settings, not started yet. Prepare the default model if the settings name none.

    Raises AutoToolError for conflicting settings.
    """
    if settings.engine == "remote":
        return _remote(settings)
    if settings.remote_url is not None:
        raise AutoToolError("Setting remote_url is only for --engine remote.")
    model = settings.model or str(default_model.ensure())
    if settings.engine == "vllm" or (settings.engine == "auto" and importlib.util.find_spec("vllm")):
        from autotool_server.engines.vllm import VllmEngine  # noqa: PLC0415 each engine imports its own library

        return VllmEngine(model, engine_args=settings.engine_arg)
    return _transformers(model, settings)


def _remote(settings: Settings) -> Engine:
    from autotool_server.engines.remote import RemoteEngine  # noqa: PLC0415

    if settings.remote_url is None:
        raise AutoToolError(
            "Setting engine: remote needs --remote-url, the base URL of a vLLM server, such as http://gpu-1:8000/v1."
        )
    key = settings.remote_api_key.get_secret_value() if settings.remote_api_key is not None else None
    try:
        return RemoteEngine(settings.remote_url, tokenizer=settings.model, api_key=key, **settings.engine_arg)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise AutoToolError("Setting engine_arg: the remote engine takes model=NAME and timeout=SECONDS.") from None


def _transformers(model: str, settings: Settings) -> Engine:
    from autotool_server.engines.transformers import TransformersEngine  # noqa: PLC0415

    try:
        return TransformersEngine(model, **settings.engine_arg)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise AutoToolError(
            "Setting engine_arg: the transformers engine takes dtype, device, max_model_len, max_num_seqs."
        ) from None


def served_name(settings: Settings, engine: Engine) -> str:
    """Return the model's name in the API."""
    if settings.served_model_name is not None:
        return settings.served_model_name
    uses_default = settings.model is None and engine.name != "remote"
    return default_model.NAME if uses_default else engine.model_name
