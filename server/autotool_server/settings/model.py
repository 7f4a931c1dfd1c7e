"""Settings of the model: its names in the API, the engine that decodes it, and its profile."""

from typing import Literal

from pydantic import Field, SecretStr

from autotool_server.settings.group import Names, SettingsGroup, Text


class ModelSettings(SettingsGroup):
    """Which model is served, under which names, and by which engine."""

    model: Text | None = None
    """Checkpoint to serve: a local folder, a hub id, or one of the names smollm2-135m, qwen2.5-coder-0.5b and
    qwen2.5-coder-1.5b, with -base behind it for what a trained one was made from. Default: smollm2-135m, SmolLM2-135M-Instruct
    as trained by this project. These are prepared at the first start. With the remote engine: the source of the tokenizer.
    Default there: what the remote server names."""

    served_model_name: Text | None = None
    """Name of the model in the API. Default: the value of --model, as in vLLM."""

    model_aliases: Names = ()
    """Other names under which the model answers, separated by commas or as a JSON list, for clients that ask for a model of
    their own, such as gpt-4o or claude-haiku-4-5."""

    list_mode_aliases: bool = False
    """Whether GET /v1/models lists every name that is answered: the model's, the aliases, and NAME:auto, NAME:long and
    NAME:short of each. Default: the model's name alone."""

    engine: Literal["auto", "vllm", "remote", "transformers"] = "auto"
    """Where tokens are decoded: in process by vllm or transformers, or by a remote vLLM server or router.
    auto takes vllm where it is installed, else transformers."""

    engine_arg: dict[str, str | bool | int | float] = Field(default_factory=dict)
    """An argument passed through to the engine, as name=value; may be given more than once. For vllm any field of its
    AsyncEngineArgs, such as tensor_parallel_size=4. The variable takes all of them as a JSON object:
    AUTOTOOL_ENGINE_ARG='{"max_model_len": 8192, "dtype": "bfloat16"}'."""

    engine_restarts: int = Field(default=3, ge=0)
    """How often an engine that has failed is started again, with growing pauses, before the server ends with exit code 1. It
    counts anew once the engine has served for 10 minutes."""

    engine_hang_seconds: float = Field(default=300, ge=10)
    """Seconds without a step of the model after which the engine is taken for hung, and its requests end with an error. That of
    vllm is started again. That of transformers, a thread that nothing can end, ends the server with exit code 1."""

    remote_url: Text | None = None
    """Base URL of the remote engine, such as http://gpu-1:8000/v1."""

    remote_api_key: SecretStr | None = None
    """API key of the remote engine."""

    profile: Text | None = None
    """The checkpoint's response prefixes, markers and tool-call format: qwen3, qwen3-coder, smollm2-autotool, plain, or
    the path of a profile file. Default: the checkpoint's mode_profile.json, else recognised from its chat template."""
