"""The keys file: what it may say, and what an error names."""

import re
from pathlib import Path

import pytest

from autotool_core.api_keys import hash_of, new_key
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_server.api.keys.file import Key, read_keys
from autotool_server.state_store.windows import Limits

HASH, OTHER = hash_of("a"), hash_of("b")
WHOLE = f"""
[keys.alice]
hash = "{HASH}"
models = ["m"]
modes = ["short", "auto"]
tools = ["weather.*"]
priority = -1
concurrent_requests = 2
requests_per_minute = 3
tokens_per_minute = 4
tokens_per_day = 5
tokens_per_month = 6
[keys."b.c"]
hash = "{OTHER}"
"""


def read(folder: Path, text: str, *, has_store: bool = True) -> list[Key]:
    path = folder / "keys.toml"
    path.write_text(text)
    return list(read_keys(path, has_store=has_store).values())


def test_every_field_is_read_and_what_is_left_out_is_not_limited(tmp_path: Path) -> None:
    alice, other = read(tmp_path, WHOLE)
    assert (alice.name, other.name) == ("alice", "b.c")
    assert alice.caller.modes == {Mode.SHORT, Mode.AUTO}
    assert alice.limits.tokens == {"minute": 4, "day": 5, "month": 6}
    assert set(other.model_dump(exclude_defaults=True)) == {"name", "hash"}
    assert (alice.priority, other.priority) == (-1, 0)
    assert (alice.has_budget, other.has_budget) == (True, False)
    assert (alice.limits.requests_per_minute, other.limits) == (3, Limits())


def test_a_new_key_is_recognised_by_its_hash() -> None:
    key = new_key()
    assert key != new_key()
    assert re.fullmatch(r"[0-9a-f]{64}", hash_of(key))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[keys.a]", "keys.a.hash: This is missing."),
        (f'[keys.a]\nhash = "{HASH[:-1]}"', "keys.a.hash: "),
        (f'[keys.a]\nhash = "{HASH}"\nmodel = ["m"]', "keys.a.model: There is no such field. Those there are: hash, models, "),
        (f'[keys.a]\nhash = "{HASH}"\nmodes = ["fast"]', "keys.a.modes: Input should be 'auto', 'long' or 'short'."),
        (f'[keys.a]\nhash = "{HASH}"\nmodes = "short"', "keys.a.modes: This must be a list, in [ ]."),
        (f'[keys.a]\nhash = "{HASH}"\ntools = [1]', "keys.a.tools"),
        (f'[keys.a]\nhash = "{HASH}"\nrequests_per_minute = 0', "keys.a.requests_per_minute: "),
        (f'[keys.a]\nhash = "{HASH}"\ntokens_per_day = "5"', "keys.a.tokens_per_day: This must be a whole number."),
        (f'[keys.a]\nhash = "{HASH}"\ntokens_per_day = true', "keys.a.tokens_per_day: This must be a whole number."),
        (f'[keys.a]\nhash = "{HASH}"\n[keys.b]\nhash = "{HASH}"', "keys.b.hash: This is the hash of keys.a too."),
        (f'[keys."a b"]\nhash = "{HASH}"', "keys.a b: The name must be letters"),
        ("keys = 1", "keys: This must be a table, as in [keys.NAME]."),
        ("[keys]\na = 1", "keys.a: This must be a table, as in [keys.NAME]."),
        ("", "keys: This is missing."),
        ("[key.a]", "key: There is no such field."),
        ("[keys", "is not valid TOML"),
    ],
)
def test_a_fault_names_file_key_and_field(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(AutoToolError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"The keys file {tmp_path / 'keys.toml'}")
    assert named in str(error.value)


def test_a_budget_needs_a_store(tmp_path: Path) -> None:
    for field in ("tokens_per_day", "tokens_per_month"):
        text = f'[keys.a]\nhash = "{HASH}"\n{field} = 1'
        assert read(tmp_path, text)
        with pytest.raises(AutoToolError, match=rf"keys\.a\.{field}: .*--spend-store"):
            read(tmp_path, text, has_store=False)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"The keys file .*none\.toml cannot be read: No such file"):
        read_keys(tmp_path / "none.toml", has_store=True)


def test_the_guide_names_every_field() -> None:
    guide = (Path(__file__).parents[5] / "docs" / "guides" / "keys.md").read_text(encoding="utf-8")
    assert [field for field in Key.model_fields if field != "name" and f"`{field}`" not in guide] == []
