"""Checks of the settings before anything heavy is imported: torch, vLLM and the web framework take many seconds."""

from autotool_core import profile
from autotool_server.api.keys.keyring import make_keyring
from autotool_server.engines import generation_config
from autotool_server.engines.create import engine_name
from autotool_server.launch import model_source
from autotool_server.settings import Settings
from autotool_server.targets import Targets
from autotool_server.targets.load import LoadRelief
from autotool_server.tools.config import create_registry
from autotool_server.tools.registry import Registry
from autotool_server.tracing import endpoint


def check(settings: Settings) -> Registry:
    """Return the registry of the settings' tools, not started yet.

    Raises AutoToolError, which names the mend, for settings with which no server can start.
    """
    engine = engine_name(settings)
    if settings.profile is not None:
        profile.named(settings.profile)
    if settings.otlp_traces_endpoint is not None:
        endpoint.parse(settings.otlp_traces_endpoint)
    registry = create_registry(settings)
    make_keyring(settings)
    Targets(settings)
    LoadRelief.of(settings)
    if settings.model is not None:
        model_source.check(settings.model, engine, settings.engine_arg)
    generation_config.check(settings.generation_config, settings.model)
    return registry
