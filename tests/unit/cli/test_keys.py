"""`autotool keys new`: what it prints lets the key in."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from autotool_cli.keys import app
from autotool_core.errors import AutoToolError
from autotool_server.api.keys.keyring import Keyring


def test_a_new_key_and_the_lines_that_let_it_in(tmp_path: Path) -> None:
    printed = [CliRunner().invoke(app, ["new", "a.b"]).stdout for _ in range(2)]
    key = next(line for line in printed[0].splitlines() if line.startswith("at-"))
    lines = printed[0][printed[0].index("[keys") :]
    assert list(tomllib.loads(lines)["keys"]) == ["a.b"]
    path = tmp_path / "keys.toml"
    path.write_text(lines)
    found = Keyring(path, has_store=False).find(key)
    assert found is not None
    assert found.name == "a.b"
    assert key not in printed[1]


def test_a_name_that_the_file_does_not_take_is_refused() -> None:
    for name in ("a b", "", "-", 'x"]', "x" * 65):
        assert isinstance(CliRunner().invoke(app, ["new", "--", name]).exception, AutoToolError)
