"""All settings of the server. The options of `autotool serve` and the variables `AUTOTOOL_*` are these fields."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from autotool_core.answer_reserve import DEFAULT_SHARE
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_core.target import TargetText
from autotool_server import environment
from autotool_server.environment import PREFIX


def _from_json(value: object) -> object:
    """Return the value of a setting that was given as text on the command line."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("json", "Input should be JSON") from None


def _names(value: object) -> object:
    """Return the names of a setting that was given as text: separated by commas, or a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _from_json(value)
    return [name for part in value.split(",") if (name := part.strip())]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Text = Annotated[str, Field(min_length=1)]


def _not_empty(value: object) -> object:
    """Return a key of this server that is not empty. Taken for no key at all, an empty one would open the server."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not text.strip():
        raise PydanticCustomError("empty", "It is empty: unset it or give a key")
    return value


Key = Annotated[SecretStr, BeforeValidator(_not_empty)]

MIN_REPETITION_PENALTY = 0.01
"""Logits that are divided by less may become infinite, and their probabilities no numbers."""

GENERATION_CONFIG_FILE = "generation_config.json"


def _config_source(source: str) -> str:
    """Return a source of the generation config: auto, vllm, or a folder that holds the file."""
    if source not in ("auto", "vllm") and not Path(source, GENERATION_CONFIG_FILE).is_file():
        raise PydanticCustomError("config_source", "Input should be auto, vllm, or a folder that holds generation_config.json")
    return source


class Effort(BaseModel):
    """What a reasoning effort stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    bias: float = Field(default=0.0, ge=-100, le=100)
    """Log-odds added to the long decision token in `auto`."""
    budget: int | None = Field(default=None, ge=0)
    """Limit of tokens in the think block; None for the server's default."""


EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "none": Effort(mode=Mode.SHORT),
        "minimal": Effort(mode=Mode.SHORT),
        "low": Effort(mode=Mode.AUTO, bias=-2, budget=512),
        "medium": Effort(mode=Mode.AUTO, budget=2048),
        "high": Effort(mode=Mode.LONG, budget=8192),
        "xhigh": Effort(mode=Mode.LONG, budget=32768),
        "max": Effort(mode=Mode.LONG),
    }
)


class GenerationConfig(BaseModel):
    """What requests get that leave it out, by the names of a checkpoint's `generation_config.json`. None is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    do_sample: bool | None = None
    """false decodes greedily, whatever the temperature."""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    """0 and -1 consider the whole vocabulary."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, ge=MIN_REPETITION_PENALTY)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Limit of decoded tokens."""

    def overridden_by(self, other: "GenerationConfig") -> "GenerationConfig":
        """Return this configuration with the values that the other one has."""
        given = other.model_dump(exclude_none=True)
        if "temperature" in given:
            # A temperature that the operator gives is meant, whatever the checkpoint says of sampling.
            given.setdefault("do_sample", True)
        return self.model_copy(update=given)


class Settings(BaseSettings):
    """Settings of one server process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: Text | None = None
    """Checkpoint to serve: a local folder, a hub id, or one of the names smollm2-135m and qwen2.5-coder-0.5b. Default:
    smollm2-135m, SmolLM2-135M-Instruct as trained by this project. These two are prepared at the first start. With the remote
    engine: the source of the tokenizer. Default there: what the remote server names."""

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

    default_mode: Mode = Mode.AUTO
    """Mode of requests that ask for none. Where the model cannot do auto, the default is long, or short if it cannot think."""

    effort: Annotated[dict[str, Effort], BeforeValidator(_from_json)] = Field(default_factory=dict)
    """What a reasoning effort stands for, as JSON: {"low": {"mode": "auto", "bias": -2, "budget": 512}}. Defaults: none and
    minimal are short; low is auto with bias -2 and a budget of 512 tokens of reasoning; medium is auto with 2048; high,
    xhigh and max are long with 8192, 32768 and no budget of their own."""

    target: TargetText | None = None
    """What auto is to cost: thinking-rate=0.3, tokens=200 or regret=2% (docs/guides/targets.md). The server finds the reasoning
    bias that holds it, for requests that set none themselves. Default: no target."""

    alias_targets: Annotated[dict[str, TargetText], BeforeValidator(_from_json)] = Field(default_factory=dict)
    """Targets of requests that ask for the model by one of its model_aliases, as JSON: {"cheap": "thinking-rate=0.1"}."""

    dial: Text | None = None
    """File dial.json of `autotool bench dial`, measured with this model: where the reasoning bias of a target begins. A target
    of regret needs it. Default: it begins at 0."""

    max_target_bias: float = Field(default=8, gt=0, le=100)
    """Largest reasoning bias in log-odds, up and down, that a target may lead to. With a dial, what it has measured bounds it
    too."""

    max_load_bias: float = Field(default=0, ge=0, le=100)
    """Largest log-odds by which auto is made to think less while requests wait, before thoughts are made shorter and before
    requests are refused (docs/guides/serve.md). Default: 0, thinking does not depend on the load."""

    slo_first_token: float = Field(default=5, gt=0)
    """Seconds from a request to its first token that max_load_bias is to keep, no more than max_queue_seconds. It has no effect
    without max_load_bias."""

    audit: float = Field(default=0, ge=0, le=1)
    """Share of the requests in auto, drawn at random, that are also answered in the other mode, in the background and without
    running tools, to measure what auto saves (docs/guides/savings.md). GET /v1/savings tells it. Default: none."""

    audit_at_once: int = Field(default=1, ge=1)
    """Largest number of audits in the engine at once. 16 more may wait; further ones are dropped, and counted."""

    default_max_tokens: Annotated[int, Field(ge=1)] | Literal["context"] | None = None
    """Limit of an answer's tokens where the request sets none; context: what the context has left. Default: the
    profile's, else 4096."""

    default_max_reasoning_tokens: int | None = Field(default=None, ge=0)
    """Limit of the think block's tokens where neither the request nor its effort sets one. Default: the profile's, else
    none."""

    answer_reserve: float = Field(default=DEFAULT_SHARE, ge=0, lt=1)
    """Part of max_tokens, at most 1024 tokens, that reasoning leaves to the answer where the request does not limit the
    reasoning itself. 0 lets the reasoning take all of it."""

    generation_config: Annotated[str, AfterValidator(_config_source)] = "auto"
    """What requests get that leave their sampling out, as in vLLM: auto takes the checkpoint's generation_config.json, vllm
    takes none (temperature 1), and a folder is one that holds such a file. The limit max_new_tokens of a folder's file is also
    the largest that a request may set."""

    override_generation_config: Annotated[GenerationConfig, BeforeValidator(_from_json)] = Field(
        default_factory=GenerationConfig
    )
    """Values in place of those of generation_config, as JSON: {"temperature": 0.5, "top_p": 0.9}. Names: do_sample,
    temperature, top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty and max_new_tokens, which is also
    the largest limit that a request may set."""

    closing_phrase: str | None = None
    """Text with which reasoning that reached its limit ends before the answer. Default: the profile's, else none."""

    host: Text = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    allowed_origins: Names = ()
    """Origins whose web pages may call the server from a browser, separated by commas or as a JSON list, such as
    https://app.example; * is every origin. Default: none."""

    allowed_hosts: Names = ()
    """Names by which clients reach the server, separated by commas or as a JSON list, such as models.example; * is every name.
    localhost, names that end in .localhost or .internal, and IP addresses always hold. Requests with another Host are answered
    403 where names are given, and on a loopback address without a key, where a web page could reach the server by a name of
    its own. Default: none."""

    page: bool = True
    """Whether GET / is a playground in the browser: one question in all three modes, side by side, and what the server does
    meanwhile (docs/guides/page.md). It is a client like any other, and asks for a key where the server requires one."""

    api_key: Key | None = None
    """Key that clients must send as a bearer token. Default: no key is needed."""

    keys: Annotated[str, BeforeValidator(_not_empty)] | None = None
    """File of the keys of many clients, in TOML, with what each may use and how much (docs/guides/keys.md). It is read again
    when it changes. With api_key beside it, that key holds too and is not limited. Default: none."""

    spend_store: Text | None = None
    """Database of what the keys of the keys file use, as sqlite:///spend.db or postgresql://user:password@host/name (extra
    postgresql), which several servers may share; it may be that of response_store. Default: the process's memory, which is
    empty after a restart and does not do for keys with tokens_per_day or tokens_per_month."""

    log_requests: Literal["off", "short", "json"] = "short"
    """Line that is written to standard output for every request but health probes: short is for people, json for programs.
    It has modes, tokens, times and the status, never a prompt or an answer."""

    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """Least severe messages to show on standard error. Default: warnings of this server, and errors of the libraries that
    it uses."""

    otlp_traces_endpoint: Text | None = None
    """Collector of OpenTelemetry to send a trace of every request to, such as http://localhost:4318/v1/traces, or
    grpc://localhost:4317 for OTLP over gRPC (extra traces; docs/guides/traces.md). The variables OTEL_* hold for it. It has no
    prompts, arguments or results. Default: no traces."""

    drain_seconds: float = Field(default=300, ge=0)
    """Seconds that requests may still take after the first Ctrl-C or SIGTERM; what is left then ends with an error. Set it at
    least 20 seconds below the time after which the process is killed, such as the 30 seconds of Kubernetes."""

    max_concurrent_requests: int = Field(default=2048, ge=1)
    """Requests served at once, those that wait to be admitted included; more are answered 503 with Retry-After."""

    max_running_requests: int | None = Field(default=None, ge=1)
    """Requests that the engine has at once, each choice counted; more wait to be admitted. Default: what the engine decodes at
    once (max_num_seqs of vllm and transformers) and an eighth more; 256 with the remote engine, for which max_num_seqs of all
    its servers together is best."""

    max_running_tokens: int | None = Field(default=None, ge=1)
    """Tokens that the requests in the engine are expected to need together, prompts included; more wait to be admitted. A
    request that is larger runs alone. Default: the size of the engine's cache; no limit with the remote engine."""

    max_queue_seconds: float = Field(default=60, ge=0)
    """Seconds that a request may wait to be admitted; then, or at once if the wait is expected to be longer, it is answered 503
    with Retry-After. 0: no request waits. A proxy in front must wait longer for a first byte: most give up after 60 seconds."""

    short_first_seconds: float = Field(default=0, ge=0)
    """Seconds that the longest requests may be passed for, in the queue and in vllm, by shorter ones that come later; those in
    between for a part of it (docs/guides/serve.md). Default: 0, first come, first served."""

    max_long_share: float = Field(default=1, gt=0, le=1)
    """Part of the answers that the engine decodes at once that long ones may be, so that a short call finds a place beside them
    (docs/guides/serve.md). Long are those of which more than half of the usual longest answer is expected. Default: all."""

    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    """Largest request body in bytes; more is answered 413."""

    max_bodies_bytes: int = Field(default=256 * 2**20, ge=1024)
    """Bytes of the bodies of all requests that are read or answered, together; what does not fit is answered 503 with
    Retry-After. One body of max_body_bytes always fits."""

    max_connections: int = Field(default=8192, ge=2)
    """Connections open at once, but no more than half of the files that the process may open (ulimit -Hn). Beyond that the one
    that has been idle for the longest time is closed; if too many are busy, all but health probes are answered 503."""

    receive_seconds: float = Field(default=10, gt=0)
    """Seconds in which the headers of a request must arrive, and the longest pause within its body, which must also arrive at
    8 KiB a second on average once it has taken so long; else the answer is 408."""

    keep_alive_seconds: float = Field(default=5, gt=0)
    """Seconds for which a connection stays open after an answer for the next request. Behind a load balancer that keeps
    connections, set it above the load balancer's own."""

    send_seconds: float = Field(default=30, ge=1)
    """Seconds after which a client that takes nothing of its answer, or next to nothing, is cut off, and the answer is ended
    (Linux)."""
    schema_seconds: int = Field(default=5, ge=1)
    """CPU time in seconds that checking the JSON schemas of a request and making their grammars may take; more is answered
    400."""

    unknown_fields: Literal["warn", "refuse", "ignore"] = "warn"
    """Fields of a request that this server does not know: warn leaves them out and names them in the answer
    (autotool.ignored) and in the header x-autotool-ignored, refuse answers 400, ignore leaves them out."""

    max_choices: int = Field(default=16, ge=1)
    """Largest n of a request."""

    tools: Text | None = None
    """File of server tools, in TOML (docs/guides/tools.md)."""

    builtin_tools: str = ""
    """Built-in tools to offer, separated by commas: calculator, clock, fetch, python."""

    audit_log: Text | None = None
    """File to which every call of a server tool adds a line of JSON, without arguments and result (docs/guides/tools.md).
    While it cannot be written, tools that may change something are not run. Default: none."""

    max_tool_turns: int = Field(default=16, ge=1)
    """Maximum and default number of turns of a request that may call server tools."""

    max_tool_calls: int = Field(default=64, ge=1)
    """Maximum and default number of calls of server tools in a request."""

    max_tool_seconds: float = Field(default=300, gt=0)
    """Maximum and default time, in seconds, after which a request's calls of server tools are ended."""

    escalate: bool = False
    """Whether a short turn whose call of a server tool has bad arguments or fails is decoded again in long, once."""

    admin_key: Key | None = None
    """Key of the operator, who may enable tools that an MCP server has changed. Default: they stay disabled."""

    reasoning_fields: Literal["both", "reasoning", "reasoning_content"] = "both"
    """Names of the field that carries the reasoning in answers: clients use two."""

    response_store: Text | None = None
    """Database of answers of the Responses API, as sqlite:///responses.db or postgresql://user:password@host/name (extra
    postgresql). Default: answers are not stored, and previous_response_id is refused."""

    response_ttl_seconds: int = Field(default=30 * 24 * 3600, ge=1)
    """Seconds for which a response is kept after it was stored or followed."""

    seal_key: Key | None = Field(default=None, min_length=16)
    """Key that seals reasoning for clients that send it back (reasoning.encrypted_content), any text of 16 characters or more.
    Several servers behind one address need the same. Default: a new one at every start."""

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
