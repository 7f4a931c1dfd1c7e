"""All settings of the server. The options of `autotool serve` and the variables `AUTOTOOL_*` are these fields."""

import os

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

from autotool_core.errors import AutoToolError
from autotool_server import environment
from autotool_server.environment import PREFIX
from autotool_server.settings.access import AccessSettings
from autotool_server.settings.answers import AnswerSettings
from autotool_server.settings.generation import GenerationConfig, GenerationSettings
from autotool_server.settings.limits import LimitSettings
from autotool_server.settings.model import ModelSettings
from autotool_server.settings.modes import EFFORTS, Effort, ModeSettings
from autotool_server.settings.observability import ObservabilitySettings
from autotool_server.settings.tools import ToolSettings

__all__ = ["EFFORTS", "PREFIX", "Effort", "GenerationConfig", "Settings", "load_settings"]


class Settings(
    # Pydantic takes the fields of the last base first: in the help and in the reference the groups come in reverse.
    AnswerSettings,
    ToolSettings,
    LimitSettings,
    ObservabilitySettings,
    AccessSettings,
    GenerationSettings,
    ModeSettings,
    ModelSettings,
):
    """Settings of one server process."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources: the arguments, then those variables of the environment that set something."""
        if isinstance(env_settings, EnvSettingsSource):
            given = env_settings.env_vars.items()
            env_settings.env_vars = {name: text for name, text in given if environment.is_given(name, text)}
        return init_settings, env_settings

    def effort_of(self, name: str) -> Effort | None:
        """Return what an effort stands for; None if its name is unknown."""
        return self.effort.get(name, EFFORTS.get(name))


def load_settings(**given: object) -> Settings:
    """Return settings from the arguments, else from the environment.

    Warns about variables that nothing reads. Raises AutoToolError, naming the setting, for a malformed one.
    """
    environment.warn_about_unknown(os.environ, [PREFIX + name.upper() for name in Settings.model_fields])
    try:
        return Settings(**given)  # pyright: ignore[reportArgumentType] pydantic checks the values
    except SettingsError as error:
        raise AutoToolError(f"A setting that is not text must be JSON in the environment: {error}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0])
        inside = "".join(f"{part}: " for part in first["loc"][1:])
        option = f"--{name.replace('_', '-')}, {PREFIX}{name.upper()}"
        raise AutoToolError(f"Setting {name} ({option}): {inside}{first['msg']}.") from None
