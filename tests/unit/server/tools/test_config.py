"""The tools file and the registry: the start, and the errors that stop it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tools import Fixed, Scripted, add

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server.settings import Settings
from autotool_server.tools.builtin.fetch import POLICY as FETCH_POLICY
from autotool_server.tools.config import create_registry
from autotool_server.tools.entry import Entry
from autotool_server.tools.registry import Registry

MODULE = '''
from autotool_server.tools import tool

@tool
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number
'''


def settings(folder: Path, text: str, builtin: str = "") -> Settings:
    (folder / "tools.toml").write_text(text)
    return Settings(tools=str(folder / "tools.toml"), builtin_tools=builtin)


APPROVALS = """
[python.math]
module = "asking"
repeatable = ["look"]
approval = { "delete_*" = "always", "delete_all" = "first", "*" = "never" }
"""
ASKING = '''
from autotool_server.tools import tool

@tool(approval="always")
async def delete_all() -> str:
    """Delete all."""

@tool(approval="always", repeatable=True)
async def look() -> str:
    """Look."""

@tool
async def delete_one() -> str:
    """Delete one."""
'''


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (APPROVALS, {"delete_all": ("always", False), "look": ("never", True), "delete_one": ("always", False)}),
        (
            '[python.math]\nmodule = "asking"\napproval = "first"\n',
            {"delete_all": ("first", False), "look": ("first", True), "delete_one": ("first", False)},
        ),
        (
            '[python.math]\nmodule = "asking"\n',
            {"delete_all": ("always", False), "look": ("always", True), "delete_one": ("never", False)},
        ),
    ],
)
async def test_what_needs_approval_and_what_may_be_repeated(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    (tmp_path / "asking.py").write_text(ASKING)
    async with create_registry(settings(tmp_path, text)) as registry:
        policies = {name.removeprefix("math."): tool.spec.policy for name, tool in registry.tools.items()}
    assert {name: (policy.approval, policy.repeatable) for name, policy in policies.items()} == expected


async def test_functions_next_to_the_tools_file_and_built_in_tools(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(MODULE)
    async with create_registry(settings(tmp_path, '[python.math]\nmodule = "doubling"\n', "calculator, clock")) as tools:
        assert sorted(tools.tools) == ["calculator", "clock", "math.double"]
        assert await tools.tools["math.double"].call({"number": 4}) == b"8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[python", "not valid TOML"),
        ("[robots.x]\n", r"there is no kind \[robots.x\]"),
        ("[builtin.clok]\n", "There is no built-in tool clok. Those there are: .*clock"),
        ('[builtin.clock]\nrepeatable = ["look"]\n', r"\[builtin.clock\] repeatable: no tool of it is named 'look'"),
        ("tools = 1\n", "tools: "),
        ("[python.x]\n", "python.x.module: This is missing"),
        ('[python.x]\nmodul = "a"\n', "python.x.modul: There is no such key. Those there are: .*module"),
        (
            '[python]\nmodule = "a"\n',
            r"python.module: This must be a table; an entry has a name of its own, as in \[python.NAME\]",
        ),
        ('[python."x y"]\nmodule = "json"\n', "json has no function"),
        ('[python.x]\nmodule = "a"\nfolder = "nowhere"\n', r"\[python.x\] folder: .*nowhere is no folder"),
        ('[mcp.x]\ncommand = "a"\n', "mcp.x.command: This must be a list"),
        ('[mcp.x]\ncommand = ["a"]\nurl = "b"\n', "mcp.x: give either command or url"),
        ('[mcp.x]\ncommand = ["a"]\ncwd = "nowhere"\n', r"\[mcp.x\] cwd: .*nowhere is no folder"),
        ('[python.x]\nmodule = "no_such_module_here"\n', "no_such_module_here"),
        ('[http.x]\nbase_url = "http://a"\ntimeout = 0\nendpoints = []\n', "http.x.timeout"),
        ('[openapi.x]\ndocument = "a"\nsecret = 1\n', "openapi.x.secret"),
        ('[openapi.x]\ndocument = "missing.json"\n', r"\[openapi.x\]"),
        ("[mcp.x]\n", "mcp.x"),
        ('[python.x]\nmodule = "a"\napproval = "sometimes"\n', r"python.x.approval.\*: .*'never', 'first' or 'always'"),
        ('[python.x]\nmodule = "a"\napproval = 1\n', "python.x.approval: give 'never', 'first' or 'always', or"),
    ],
)
async def test_errors_in_the_tools_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        async with create_registry(settings(tmp_path, text)):
            pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[python."x y"]\nmodule = "doubling"\n', "'x y.double' is not a name for a tool"),
        (
            '[python.x]\nmodule = "doubling"\nread_only = ["tripel"]\n',
            "read_only: no tool of it is named 'tripel'. There are: double",
        ),
        ('[python.x]\nmodule = "doubling"\nidempotent = ["t*"]\n', "idempotent: no tool of it is named"),
        ('[python.x]\nmodule = "doubling"\nrepeatable = ["t*"]\n', "repeatable: no tool of it is named"),
        ('[python.x]\nmodule = "doubling"\napproval = { "t*" = "always" }\n', "approval: no tool of it is named"),
    ],
)
async def test_names_and_patterns_are_checked_at_the_start(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "doubling.py").write_text(MODULE)
    with pytest.raises(AutoToolError, match=message):
        async with create_registry(settings(tmp_path, text)):
            pass


async def test_a_group_of_disabled_tools_is_refused_by_name() -> None:
    tool = Scripted("a.b", add)
    tool.spec = replace(tool.spec, disabled="it has changed.")
    async with Registry([Fixed([tool])]) as tools:
        with pytest.raises(InvalidRequestError, match="All server tools of this group are disabled") as refused:
            tools.choose({"a.*": "tools.0.name"})
    assert refused.value.field == "tools.0.name"


async def test_a_changed_tool_with_an_invalid_schema_cannot_be_accepted() -> None:
    tool = Scripted("a", add)
    async with Registry([Fixed([tool])]) as tools:
        tool.spec = replace(tool.spec, parameters={"type": "objekt"})
        with pytest.raises(InvalidRequestError, match="no valid JSON schema") as refused:
            tools.accept("a", tool.spec.fingerprint)
    assert refused.value.status == 409


async def test_a_missing_environment_variable_is_named(tmp_path: Path) -> None:
    text = '[http.x]\nbase_url = "http://a"\nheaders = { Key = "${NO_SUCH_VARIABLE}" }\n'
    endpoint = '[[http.x.endpoints]]\nname = "a"\nmethod = "GET"\npath = "/"\ndescription = "d"\n'
    with pytest.raises(AutoToolError, match="NO_SUCH_VARIABLE"):
        async with create_registry(settings(tmp_path, text + endpoint)):
            pass


async def test_a_missing_tools_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"nowhere\.toml cannot be read"):
        async with create_registry(Settings(tools=str(tmp_path / "nowhere.toml"))):
            pass


async def test_a_table_sets_the_limits_of_a_built_in_tool(tmp_path: Path) -> None:
    text = '[builtin.fetch]\napproval = "first"\nmax_result_bytes = 512\n[builtin.calculator]\nrepeatable = ["*"]\n'
    async with create_registry(settings(tmp_path, text, "calculator, clock")) as registry:
        policies = {name: tool.spec.policy for name, tool in registry.tools.items()}
    assert policies["fetch"] == replace(FETCH_POLICY, approval="first", max_result_bytes=512)
    assert policies["calculator"].repeatable
    assert (policies["clock"].repeatable, policies["clock"].read_only) == (True, True)
    assert len(policies) == 3


def test_a_pattern_for_all_tools_holds_where_there_are_none_yet() -> None:
    Entry(approval={"*": "always"}, read_only=["*"]).check_patterns("[mcp.late]", [])
    with pytest.raises(AutoToolError, match="read_only: no tool of it is named 'get_\\*'"):
        Entry(read_only=["get_*"]).check_patterns("[mcp.late]", [])


async def test_an_unknown_built_in_tool_is_named() -> None:
    with pytest.raises(AutoToolError, match="no built-in tool calulator"):
        async with create_registry(Settings(builtin_tools="calulator")):
            pass


async def test_duplicate_names_stop_the_start_and_the_started_sources() -> None:
    stopped: list[bool] = []

    class Source(Fixed):
        async def stop(self) -> None:
            stopped.append(True)

    with pytest.raises(AutoToolError, match="Two server tools are named a"):
        async with Registry([Source([Scripted("a", add)]), Source([Scripted("a", add)])]):
            pass
    assert stopped == [True, True]


async def test_an_invalid_schema_stops_the_start() -> None:
    with pytest.raises(AutoToolError, match="The arguments of a have no valid JSON schema"):
        async with Registry([Fixed([Scripted("a", add, {"type": "objekt"})])]):
            pass
