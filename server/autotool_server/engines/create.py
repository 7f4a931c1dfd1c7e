"""Create the engine of the settings."""

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Literal

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.engines import vllm, vllm_start
from autotool_server.engines.base import Engine
from autotool_server.settings import Settings
from autotool_server.tracing import endpoint

EngineName = Literal["vllm", "remote", "transformers"]

ARGUMENTS = {
    "remote": ("model", "timeout", "connect_timeout"),
    "transformers": ("dtype", "device", "max_model_len", "max_num_seqs"),
}
"""The arguments of the engines that are this project's own. Those of vLLM are known once it is imported."""


def engine_name(settings: Settings) -> EngineName:
    """Return the engine that the settings stand for. Imports no engine.

    Raises AutoToolError for settings that do not fit together, and for an engine that is not installed.
    """
    name = settings.engine
    if name == "auto":
        name = "vllm" if importlib.util.find_spec("vllm") else "transformers"
    if name == "remote" and settings.remote_url is None:
        raise AutoToolError(
            "Setting engine: remote needs --remote-url, the base URL of a vLLM server, such as http://gpu-1:8000/v1."
        )
    if name != "remote" and settings.remote_url is not None:
        raise AutoToolError("Setting remote_url is only for --engine remote.")
    if name == "vllm":
        vllm_start.check_installed()
    else:
        _check_arguments(name, settings)
    return name


def _check_arguments(name: str, settings: Settings) -> None:
    known = ARGUMENTS[name]
    for argument in settings.engine_arg:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise AutoToolError(f"Setting engine_arg: the {name} engine takes {', '.join(known)}, not {argument}{hint}")


def import_engine(settings: Settings) -> None:
    """Import the library of the settings' engine, which takes seconds. Raises AutoToolError as `engine_name` does.

    This is a call of its own because vLLM keeps the traceback of an optional import that fails, and with it all objects of the
    stack that imports it: an engine among them would not end before the process does.
    """
    name = engine_name(settings)
    if name == "vllm":
        vllm_start.import_library()
    elif name == "transformers":
        importlib.import_module("autotool_server.engines.transformers")


def create_engine(settings: Settings) -> Engine:
    """Return the engine of the settings, not started yet. Prepare the default model if the settings name none.

    Raises AutoToolError as `engine_name` and `default_model.ensure` do.
    """
    name = engine_name(settings)
    if name == "remote":
        return _remote(settings)
    model = str(default_model.ensure()) if settings.model is None else default_model.resolve(settings.model)
    if name == "vllm":
        return vllm.VllmEngine(model, engine_args=_vllm_args(settings), hang_seconds=settings.engine_hang_seconds)
    from autotool_server.engines.transformers import TransformersEngine  # noqa: PLC0415 the module imports its library

    hang_seconds = settings.engine_hang_seconds
    return TransformersEngine(model, hang_seconds=hang_seconds, **settings.engine_arg)  # pyright: ignore[reportArgumentType]


def _vllm_args(settings: Settings) -> Mapping[str, str | bool | int | float]:
    """Return vLLM's arguments: it traces to where this server does, and orders requests as this server's queue does."""
    ours: dict[str, str] = {}
    if settings.otlp_traces_endpoint is not None:
        ours["otlp_traces_endpoint"] = endpoint.parse(settings.otlp_traces_endpoint).url
    if settings.short_first_seconds or settings.audit:
        ours["scheduling_policy"] = "priority"  # by priority and arrival; without it the order is that in which they come
    return {**ours, **settings.engine_arg}


def _remote(settings: Settings) -> Engine:
    from autotool_server.engines.remote import RemoteEngine  # noqa: PLC0415

    key = settings.remote_api_key.get_secret_value() if settings.remote_api_key is not None else None
    tokenizer = settings.model and default_model.resolve_tokenizer(settings.model)
    return RemoteEngine(settings.remote_url or "", tokenizer=tokenizer, api_key=key, **settings.engine_arg)  # pyright: ignore[reportArgumentType]


def served_name(settings: Settings, engine: Engine) -> str:
    """Return the model's name in the API."""
    if settings.served_model_name is not None:
        return settings.served_model_name
    name = default_model.NAME if settings.model is None else settings.model
    is_ours = engine.name != "remote" and (settings.model is None or default_model.is_known(name))
    return name if is_ours else engine.model_name
