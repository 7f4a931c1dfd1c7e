"""One call of a server tool: retries, redaction and the check of arguments."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.tools import Scripted, add, hang

from autotool_server.tools import execute
from autotool_server.tools.base import OversizeError, Policy, ToolError, TransientError
from autotool_server.tools.execute import check
from autotool_server.tools.results import Outcome, Result
from autotool_server.tools.secrets import Secrets

NOTHING: dict[str, Any] = {"type": "object"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "RETRY_SECONDS", 0)


def failing(error: Exception, times: int, **policy: Any) -> Scripted:
    """Return a tool that fails a number of times and then succeeds."""
    left = [times]

    async def work(_: Mapping[str, Any]) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "well"

    return Scripted("t", work, NOTHING, **policy)


@pytest.mark.parametrize("error", [TransientError("busy"), RuntimeError("boom")])
async def test_an_idempotent_tool_is_retried(error: Exception) -> None:
    result = await execute.execute(failing(error, 2, idempotent=True, retries=2), {}, Secrets({}))
    assert (result.outcome, result.content, result.attempts) == (Outcome.OK, "well", 3)


@pytest.mark.parametrize(
    ("error", "policy", "attempts"),
    [
        (TransientError("busy"), {}, 1),
        (ToolError("no such city"), {"idempotent": True}, 1),
        (OversizeError(10), {"idempotent": True}, 1),
        (TransientError("busy"), {"idempotent": True, "retries": 1}, 2),
    ],
)
async def test_errors_and_tools_that_are_not_retried(error: Exception, policy: dict[str, Any], attempts: int) -> None:
    tool = failing(error, 9, **policy)
    result = await execute.execute(tool, {}, Secrets({}))
    assert result.outcome in {Outcome.ERROR, Outcome.OVERSIZE}
    assert (len(tool.calls), result.attempts, result.content) == (attempts, attempts, f"Error: {error}")


async def test_a_time_out_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    result = await execute.execute(Scripted("slow", hang, NOTHING, timeout=0.01), {}, Secrets({}))
    assert result.outcome is Outcome.TIMEOUT
    assert [record.getMessage() for record in caplog.records] == ["tool slow did not answer within 0.01 seconds"]


async def test_a_secret_is_redacted_before_the_message_is_cut() -> None:
    secrets = Secrets({"KEY": "hunter22"})
    secrets.fill("${KEY}", "test")
    error = ToolError("x" * (Policy().max_result_bytes - 4) + "hunter22")
    result = await execute.execute(failing(error, 1), {}, secrets)
    assert "hunt" not in result.content


def test_a_schemas_reference_to_the_network_is_not_followed() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    result = check(Scripted("t", add, schema), "t", '{"a": 1}')
    assert isinstance(result, Result)
    assert "not fetched" in result.content


@pytest.mark.parametrize("arguments", ["[1]", "1", "null", '{"a": NaN', "", None, "[" * 100_000])
def test_arguments_must_be_an_object(arguments: str | None) -> None:
    result = check(Scripted("t", add, NOTHING), "t", arguments)
    assert isinstance(result, Result)
    assert result.outcome is Outcome.INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("pattern", "refused"),
    [(r"^\d+$", True), (r"^\p{L}+$", False), (r"^(?!Z)", True), (r"^(?=Z)", False), (r"^\u005a", False), (r"^\cA", False)],
)
def test_a_pattern_that_is_not_read_is_not_checked(pattern: str, refused: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}, "b": {"type": "integer"}}}
    assert isinstance(check(Scripted("t", add, schema), "t", '{"a": "Zoë"}'), Result) is refused
    assert isinstance(check(Scripted("t", add, schema), "t", '{"a": "1", "b": "2"}'), Result)


@pytest.mark.parametrize("keyword", ["pattern", "patternProperties", "additionalProperties"])
@pytest.mark.parametrize(("pattern", "said"), [("^(a+)+$", ""), ("^(?=a)(a|aa)+$", "takes too long")])
def test_no_pattern_takes_long(keyword: str, pattern: str, said: str) -> None:
    text = "a" * 60 + "!"
    of_value = {"properties": {"a": {"pattern": pattern}}}
    of_names = {"patternProperties": {pattern: {"type": "integer"}}, "additionalProperties": keyword == "patternProperties"}
    schema = {"type": "object", **(of_value if keyword == "pattern" else of_names)}
    result = check(Scripted("t", add, schema), "t", json.dumps({"a": text} if keyword == "pattern" else {text: 1}))
    is_free = keyword == "patternProperties" and not said
    assert isinstance(result, dict if is_free else Result)
    assert said in str(result)


@pytest.mark.parametrize(
    ("arguments", "is_valid"), [({"n1": 1}, True), ({"n1": "x"}, False), ({"other": "x"}, True), ({"other": 1}, False)]
)
def test_names_have_the_schemas_of_their_patterns(arguments: dict[str, Any], is_valid: bool) -> None:
    schema = {"type": "object", "patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": {"type": "string"}}
    assert isinstance(check(Scripted("t", add, schema), "t", json.dumps(arguments)), Result) is not is_valid


def test_a_property_name_pattern_that_is_not_read_is_an_error() -> None:
    schema = {"type": "object", "patternProperties": {r"^(\p{L}+$": {}}}
    result = check(Scripted("t", add, schema), "t", '{"a": 1}')
    assert isinstance(result, Result)
    assert "patternProperties" in result.content
