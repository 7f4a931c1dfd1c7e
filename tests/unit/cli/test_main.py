"""The `autotool` command: its imports, the arguments that it passes on, and its errors."""

import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from support.fake_api import fake_api

from autotool_cli import main
from autotool_cli.main import COMMANDS, LazyCommand, import_command
from autotool_core.errors import AutoToolError

ROOT = Path(__file__).parents[3]
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "generate_cli_docs.py"))


def autotool(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process, after the Python statements `before`."""
    code = f"{before}\nimport runpy\nrunpy.run_module('autotool_cli', run_name='__main__')"
    start = ["-c", code] if before else ["-m", "autotool_cli"]
    return subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    report = "import atexit, sys; atexit.register(lambda: print(*(name for name in sys.modules if '.' not in name)))"
    done = autotool("--help", before=report)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "autotool_core" in loaded
    assert not loaded & {"torch", "transformers", "vllm", "fastapi", "pydantic", "openai", "httpx2", "rich"}
    assert not loaded & {"autotool_server", "autotool_client", "autotool_training", "autotool_bench"}


def test_everything_after_the_name_goes_to_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def record(**call: Any) -> None:
        calls.append(call)

    monkeypatch.setattr(main, "import_command", lambda *_: record)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    given = ["--port", "9", "file", "-x", "--engine-arg", "a=1", "--help"]
    main.app(["serve", *given], prog_name="autotool", standalone_mode=False)
    assert calls == [{"args": given, "prog_name": "autotool serve", "help_option_names": ["-h", "--help"]}]


def test_the_version_is_that_of_the_distribution() -> None:
    done = autotool("--version")
    assert (done.returncode, done.stdout) == (0, f"autotool {metadata.version('autotool-server')}\n")


@pytest.mark.parametrize("command", [(), ("models",), ("train",), ("train", "sft")], ids=" ".join)
def test_h_is_help(command: tuple[str, ...]) -> None:
    short, long = autotool(*command, "-h"), autotool(*command, "--help")
    assert (short.returncode, short.stderr) == (0, "")
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout


def test_a_package_of_the_extra_that_only_the_end_of_the_work_needs_is_missed_at_once() -> None:
    plant = "from autotool_core import extras; extras._is_installed = lambda name: name not in {'jinja2', 'matplotlib'}"
    done = autotool("bench", "run", "--suite", "graded", "--out", "nowhere", before=plant)
    assert done.returncode == 1
    assert done.stderr == (
        "autotool: `autotool bench` needs the packages jinja2 and matplotlib: run `pip install -e '.[bench]'` in the checkout "
        "of AutoTool Server.\n"
    )
    assert "Usage" in autotool("bench", "run", "--help", before=plant).stdout


def test_a_missing_extra_is_named() -> None:
    for package, arguments in (("pydantic_settings", ["--help"]), ("fastapi", ["--port", "0"])):
        done = autotool("serve", *arguments, before=f"import sys; sys.modules['{package}'] = None")
        assert done.returncode == 1
        fix = "run `pip install -e '.[server]'` in the checkout of AutoTool Server"
        assert done.stderr == f"autotool: `autotool serve` needs the package {package}: {fix}.\n"


def test_a_missing_module_of_this_project_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"autotool_core\.nowhere"):
        import_command("serve", LazyCommand("autotool_core.nowhere:command", "", extra="server"))


def test_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AutoToolError("Set the port.")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit, match=r"^autotool: Set the port\.$"):
        main.main()


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(ZeroDivisionError):
        main.main()


def test_ctrl_c_exits_a_click_command_without_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    module = ModuleType("interrupted")
    module.command = click.Command("interrupted", callback=interrupt)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "interrupted", module)
    with pytest.raises(SystemExit) as exit_info:
        import_command("interrupted", LazyCommand("interrupted:command", ""))(args=[], prog_name="interrupted")
    assert exit_info.value.code == 130
    assert capsys.readouterr().err == ""


def test_models_are_listed() -> None:
    with fake_api() as api:
        done = autotool("models", "--url", api.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Model", "Owner"],
        ["tiny", "nobody"],
        ["tiny:long", "nobody"],
    ]


def test_models_of_a_web_page_is_one_line_of_error() -> None:
    with fake_api() as api:
        api.page = "<html>"
        done = autotool("models", "--url", api.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"autotool: {api.url}/ does not speak OpenAI's API: name the URL that ends in /v1.\n"


@pytest.mark.parametrize("command", ["models", "chat"])
def test_a_malformed_url_is_one_line_of_error(command: str) -> None:
    done = autotool(command, "--url", "http://localhost:port")
    mend = "The URL cannot be read (Invalid port: 'port'): write it as http://HOST:PORT/v1."
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"autotool: {mend}\n")


def test_models_without_a_server_is_one_line_of_error() -> None:
    done = autotool("models", "--url", "http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert done.stderr.startswith("autotool: Cannot reach http://127.0.0.1:9/v1/models")
    assert done.stderr.count("\n") == 1


def test_a_wrong_option_is_named() -> None:
    done = autotool("chat", "--mode", "fast")
    assert done.returncode == 2
    assert "--mode" in done.stderr


def test_docs_are_the_help_texts() -> None:
    remedy = "docs/reference/cli.md is out of date: run `python scripts/generate_cli_docs.py`"
    assert GENERATOR["document"]() == (ROOT / "docs" / "reference" / "cli.md").read_text(), remedy
