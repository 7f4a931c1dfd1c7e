"""Shell completion, by the protocol of each shell: what a shell puts into the environment, and what it reads."""

import os
import subprocess
import sys

import pytest

MAIN = "import sys; sys.argv[0] = 'autotool'\n{before}\nfrom autotool_cli.main import main\nmain()"


def complete(*words: str, before: str = "") -> list[str]:
    """Return what bash would offer for the last word, which may be empty."""
    line = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_AUTOTOOL_COMPLETE": "complete_bash"}
    return [word for word in answer(line, before) if word]


def answer(variables: dict[str, str], before: str = "") -> list[str]:
    command = [sys.executable, "-c", MAIN.format(before=before)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_commands_are_offered_without_importing_them() -> None:
    heavy = "for name in ('openai', 'fastapi', 'torch'): sys.modules[name] = None"
    assert complete("autotool", "", before=heavy) == ["serve", "train", "bench", "calibrate", "chat", "keys", "models"]
    assert complete("autotool", "m") == ["models"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("train", "s"), ["scratch", "sft"]),  # an app with commands of its own
        (("train", "data", "--s"), ["--source", "--seed", "--strict"]),
        (("models", "--u"), ["--url"]),  # an app that does something without a command of its own
        (("models", "i"), ["inspect"]),
        (("chat", "--mode", "l"), ["long"]),
        (("serve", "--remote"), ["--remote-url", "--remote-api-key"]),  # a command of click
        (("serve", "--default-mode", ""), ["auto", "long", "short"]),
        (("serve", "--escalate", "--dem"), ["--demo"]),
    ],
    ids=" ".join,
)
def test_a_commands_own_words_are_offered(words: tuple[str, ...], offered: list[str]) -> None:
    assert complete("autotool", *words) == offered


def test_zsh_is_answered_in_its_own_form() -> None:
    script = "\n".join(answer({"_TYPER_COMPLETE_ARGS": "autotool train s", "_AUTOTOOL_COMPLETE": "complete_zsh"}))
    assert script.startswith("_arguments '*: :((")
    assert '"sft":' in script


def test_a_command_whose_extra_is_missing_offers_nothing_and_says_nothing() -> None:
    assert complete("autotool", "serve", "--p", before="sys.modules['pydantic_settings'] = None") == []


def test_the_script_of_a_shell_is_shown() -> None:
    script = "\n".join(answer({"_AUTOTOOL_COMPLETE": "source_bash"}))
    assert "complete -o default" in script
    assert "_AUTOTOOL_COMPLETE=complete_bash" in script
