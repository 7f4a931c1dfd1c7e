import pytest
from click.testing import CliRunner

from autotool_core.errors import AutoToolError
from autotool_server import settings
from autotool_server.launch import command_line, lifecycle
from autotool_server.tools.registry import Registry


def given(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> settings.Settings:
    """What `autotool serve` would start with."""
    seen: list[settings.Settings] = []

    async def serve(loaded: settings.Settings, *_: object) -> bool:
        seen.append(loaded)
        return True

    def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(lifecycle, "serve", serve)
    monkeypatch.setattr(command_line, "bind", nothing)
    monkeypatch.setattr(command_line.logs, "configure", nothing)  # logging of the tests' own process
    monkeypatch.setattr(command_line.checks, "check", nothing)
    result = CliRunner().invoke(command_line.command, arguments)
    if result.exception is not None:
        raise result.exception
    return seen[0]


def test_the_tools_that_were_checked_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them again would probe a sandbox a second time, on the event loop."""
    checked, served = Registry(), []

    async def serve(_: settings.Settings, registry: Registry, *__: object) -> bool:
        served.append(registry)
        return True

    def check(_: settings.Settings) -> Registry:
        return checked

    given(monkeypatch)
    monkeypatch.setattr(lifecycle, "serve", serve)
    monkeypatch.setattr(command_line.checks, "check", check)
    CliRunner().invoke(command_line.command, [], catch_exceptions=False)
    assert served == [checked]


def test_engine_arguments_keep_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["max_model_len=4096", "enforce-eager=true", "dtype=float32", "gpu_memory_utilization=0.5", "x=1e999y", "y={}"]
    loaded = given(monkeypatch, *(part for option in options for part in ("--engine-arg", option)))
    assert loaded.engine_arg == {
        "max_model_len": 4096,
        "enforce_eager": True,
        "dtype": "float32",
        "gpu_memory_utilization": 0.5,
        "x": "1e999y",
        "y": "{}",
    }
    assert [type(loaded.engine_arg[name]) for name in ("max_model_len", "enforce_eager")] == [int, bool]


def test_options_are_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = given(monkeypatch, "--port", "9001", "--default-mode", "short", "--served-model-name", "m")
    assert (loaded.port, loaded.default_mode, loaded.served_model_name) == (9001, "short", "m")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [((), False), (("--escalate",), True), (("--escalate", "true"), True), (("--escalate=false",), False)],
)
def test_a_switch_needs_no_value(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], value: object) -> None:
    assert given(monkeypatch, *arguments, "--port", "9001").escalate is value
    assert given(monkeypatch, "--port", "9001", *arguments).escalate is value


def test_a_switch_takes_no_other_word_for_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        given(monkeypatch, "--escalate", "a/b")
    assert given(monkeypatch, "a/b", "--escalate").model == "a/b"


def test_the_help_names_the_values_of_an_option() -> None:
    shown = " ".join(CliRunner().invoke(command_line.command, ["--help"], terminal_width=400).output.split())
    assert "--engine [auto|vllm|remote|transformers]" in shown
    assert "--default-mode [auto|long|short]" in shown
    assert "--log-level [debug|info|warning|error]" in shown
    assert "--escalate [true|false]" in shown
    assert "--port INTEGER" in shown
    assert "--drain-seconds NUMBER" in shown
    assert "--default-max-tokens INTEGER|context" in shown
    assert "--engine-arg NAME=VALUE" in shown
    assert "--api-key TEXT" in shown


def test_a_value_that_is_no_choice_is_refused_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        given(monkeypatch, "--default-mode", "fast")
    output = CliRunner().invoke(command_line.command, ["--default-mode", "fast"]).output
    assert all(mode in output for mode in ("--default-mode", "auto", "long", "short"))


def test_an_argument_without_a_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutoToolError, match="name=value"):
        given(monkeypatch, "--engine-arg", "enforce_eager")


def test_the_model_may_be_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, "a/b").model == "a/b"
    assert given(monkeypatch, "a/b", "--model", "a/b").model == "a/b"
    monkeypatch.setenv("AUTOTOOL_MODEL", "c/d")
    assert given(monkeypatch, "a/b").model == "a/b"
    assert given(monkeypatch).model == "c/d"


def test_two_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutoToolError, match="MODEL and --model"):
        given(monkeypatch, "a/b", "--model", "c/d")
