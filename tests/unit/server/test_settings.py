import re
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_core.modes import EFFORT_OF_MODE, Mode
from autotool_server import settings
from autotool_server.launch.listener import base_url, listen
from autotool_server.settings import EFFORTS, Effort, GenerationConfig

ROOT = Path(__file__).parents[3]
PACKAGES = ("cli", "core", "server", "training", "benchmarks", "clients")


def test_environment_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTOOL_PORT", "9000")
    monkeypatch.setenv("AUTOTOOL_DEFAULT_MODE", "long")
    loaded = settings.load_settings(port="9001")
    assert (loaded.port, loaded.default_mode) == (9001, Mode.LONG)


@pytest.mark.parametrize(
    ("name", "mend"),
    [("AUTOTOOL_PROT", "AUTOTOOL_PORT?"), ("AUTOTOOL_CACHE_DIRS", "AUTOTOOL_CACHE_DIR?"), ("AUTOTOOL_QQ", "--help")],
)
def test_an_unknown_variable_warns_with_the_near_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, mend: str
) -> None:
    monkeypatch.setenv(name, "9000")
    assert settings.load_settings().port == 8000
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert f"{name} is not a setting" in warning.getMessage()
    assert mend in warning.getMessage()


KUBERNETES = {
    "AUTOTOOL_SERVICE_HOST": "10.0.0.1",
    "AUTOTOOL_SERVICE_PORT": "8000",
    "AUTOTOOL_SERVICE_PORT_HTTP": "8000",
    "AUTOTOOL_PORT": "tcp://10.0.0.1:8000",
    "AUTOTOOL_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "AUTOTOOL_PORT_8000_TCP_PROTO": "tcp",
    "AUTOTOOL_PORT_8000_TCP_PORT": "8000",
    "AUTOTOOL_PORT_8000_TCP_ADDR": "10.0.0.1",
    "AUTOTOOL_GRAFANA_SERVICE_HOST": "10.0.0.2",
    "AUTOTOOL_GRAFANA_SERVICE_PORT": "3000",
    "AUTOTOOL_GRAFANA_PORT": "tcp://10.0.0.2:3000",
    "AUTOTOOL_GRAFANA_PORT_3000_TCP": "tcp://10.0.0.2:3000",
    "AUTOTOOL_DNS_PORT": "udp://10.0.0.3:53",
}
"""What Kubernetes sets for services named autotool, autotool-grafana and autotool-dns."""


def test_variables_of_kubernetes_are_no_settings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    assert settings.load_settings().port == 8000
    assert settings.load_settings(port="9001").port == 9001
    assert caplog.records == []


def test_an_address_is_no_port_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutoToolError, match="--port"):
        settings.load_settings(port="tcp://10.0.0.1:8000")
    monkeypatch.setenv("AUTOTOOL_PORT", "http://10.0.0.1:8000")
    with pytest.raises(AutoToolError, match="AUTOTOOL_PORT"):
        settings.load_settings()


def test_a_variable_of_another_part_is_known(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    texts = [path.read_text() for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")]
    others = {name for text in texts for name in re.findall(r'"(AUTOTOOL_[A-Z0-9_]+)"', text)}
    assert others >= {"AUTOTOOL_BASE_URL", "AUTOTOOL_BFCL_PYTHON", "AUTOTOOL_CACHE_DIR"}
    for name in others - {f"AUTOTOOL_{field.upper()}" for field in settings.Settings.model_fields}:
        monkeypatch.setenv(name, "x")
    settings.load_settings()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "99999"), ("port", "x"), ("engine", "tgi"), ("default_mode", "fast"), ("max_body_bytes", "1")],
)
def test_malformed_value_is_named_and_not_echoed(name: str, value: str) -> None:
    with pytest.raises(AutoToolError, match=f"--{name.replace('_', '-')}"):
        settings.load_settings(**{name: value})


KEYS = ("api_key", "keys", "admin_key", "seal_key")


@pytest.mark.parametrize("name", [name for name in settings.Settings.model_fields if name not in KEYS])
def test_an_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AUTOTOOL_{name.upper()}", "")
    assert settings.load_settings() == settings.Settings.model_construct()


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("name", KEYS)
def test_an_empty_key_is_refused(name: str, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"AUTOTOOL_{name.upper()}"
    message = f"Setting {name} (--{name.replace('_', '-')}, {variable}): It is empty: unset it or give a key."
    with pytest.raises(AutoToolError) as error:
        settings.load_settings(**{name: empty})
    assert str(error.value) == message
    monkeypatch.setenv(variable, empty)
    with pytest.raises(AutoToolError) as error:
        settings.load_settings()
    assert str(error.value) == message


@pytest.mark.parametrize(
    "name", ["model", "served_model_name", "profile", "remote_url", "tools", "host", "response_store", "spend_store"]
)
def test_an_empty_option_is_refused(name: str) -> None:
    with pytest.raises(AutoToolError, match=f"Setting {name} "):
        settings.load_settings(**{name: ""})


def test_every_field_has_a_docstring() -> None:
    assert [name for name, field in settings.Settings.model_fields.items() if not field.description] == []


def test_port_in_use() -> None:
    taken = listen("127.0.0.1", 0)
    with pytest.raises(AutoToolError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])
    assert base_url(taken).startswith("http://127.0.0.1:")
    taken.close()


def test_every_effort_has_its_mode() -> None:
    short, auto, long = ("none", "minimal"), ("low", "medium"), ("high", "xhigh", "max")
    expected = dict.fromkeys(short, Mode.SHORT) | dict.fromkeys(auto, Mode.AUTO) | dict.fromkeys(long, Mode.LONG)
    assert {name: effort.mode for name, effort in EFFORTS.items()} == expected


def test_an_effort_asks_for_the_mode_that_it_is_written_for() -> None:
    assert {EFFORTS[effort].mode: effort for effort in EFFORT_OF_MODE.values()} == EFFORT_OF_MODE


def test_an_effort_of_the_settings_wins() -> None:
    loaded = settings.load_settings(effort='{"low": {"mode": "short"}, "tiny": {"mode": "auto", "bias": -4, "budget": 32}}')
    assert loaded.effort_of("low") == Effort(mode=Mode.SHORT)
    assert loaded.effort_of("tiny") == Effort(mode=Mode.AUTO, bias=-4, budget=32)
    assert loaded.effort_of("high") == EFFORTS["high"]
    assert loaded.effort_of("enormous") is None


def test_the_generation_config_is_overridden_by_json(monkeypatch: pytest.MonkeyPatch) -> None:
    given = '{"temperature": 0.5, "top_k": 20}'
    assert settings.load_settings().override_generation_config == GenerationConfig()
    loaded = settings.load_settings(override_generation_config=given)
    assert loaded.override_generation_config == GenerationConfig(temperature=0.5, top_k=20)
    monkeypatch.setenv("AUTOTOOL_OVERRIDE_GENERATION_CONFIG", given)
    assert settings.load_settings().override_generation_config == loaded.override_generation_config


@pytest.mark.parametrize("value", ['{"temprature": 0.5}', '{"temprature": 1}', '{"top_p": 2, "temprature": 0}'])
def test_a_value_inside_a_setting_is_named(value: str) -> None:
    with pytest.raises(AutoToolError, match=r"--override-generation-config, AUTOTOOL_\w+\): (temprature|top_p): "):
        settings.load_settings(override_generation_config=value)


@pytest.mark.parametrize("text", ["a,b", " a , b,", '["a", "b"]'])
def test_names_are_separated_by_commas_or_a_json_list(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load_settings(model_aliases=text).model_aliases == ("a", "b")
    monkeypatch.setenv("AUTOTOOL_ALLOWED_ORIGINS", text)
    assert settings.load_settings().allowed_origins == ("a", "b")


def test_names_that_are_no_list_are_refused() -> None:
    with pytest.raises(AutoToolError, match="model_aliases"):
        settings.load_settings(model_aliases="[a")
