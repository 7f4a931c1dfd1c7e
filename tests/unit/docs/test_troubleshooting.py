"""Troubleshooting quotes what the server says: each of these faults is made, and a row has its words."""

import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from sqlalchemy.exc import OperationalError
from support.keys import write_keys

from autotool_core import extras
from autotool_core.api_keys import hash_of
from autotool_core.errors import AutoToolError
from autotool_server.api.keys.bookkeeper import Bookkeeper
from autotool_server.api.keys.file import read_keys
from autotool_server.api.keys.keyring import Keyring
from autotool_server.api.metrics import Metrics
from autotool_server.state_store.spend import SpendStore
from autotool_server.tools.audit import AuditLog
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources import mcp_connection
from autotool_server.tools.sources.mcp import McpEntry, McpSource
from autotool_server.tracing.otlp import Watched

PAGE = (Path(__file__).parents[3] / "docs/guides/troubleshooting.md").read_text()


def assert_quoted(message: str) -> None:
    """Check that the first column of a row has the message, of which it may leave parts out (`…`)."""
    cells = re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE)
    # Two backticks surround what has backticks.
    quotes = [text.strip() for cell in cells for _, text in re.findall(r"(``?)(?!`)(.+?)\1(?!`)", cell)]
    patterns = [".*".join(map(re.escape, quote.split("…"))) for quote in quotes if len(quote.replace("…", "")) > 20]
    assert any(re.search(pattern, message, re.DOTALL) for pattern in patterns), message


def quoted_error(raised: pytest.ExceptionInfo[AutoToolError]) -> None:
    assert_quoted(str(raised.value))


@pytest.mark.parametrize("fields", [{"model": ["m"]}, {"tokens_per_day": 9}])
def test_a_mistake_in_the_keys_file(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(AutoToolError) as raised:
        read_keys(Path(write_keys(tmp_path, alice=fields)), has_store=False)
    quoted_error(raised)


def test_a_keys_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError) as raised:
        read_keys(tmp_path / "none.toml", has_store=False)
    quoted_error(raised)


def test_a_keys_file_that_changes_for_the_worse(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keyring = Keyring(Path(write_keys(tmp_path, alice={})), has_store=False)
    (tmp_path / "keys.toml").write_text(f'[keys.a]\nhash = "{hash_of("a")}"\nmodel = []')
    keyring.reload()
    assert_quoted(caplog.messages[-1])


def test_a_spend_store_that_is_lost(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: SpendStore) -> None:
        raise OperationalError("", None, Exception())

    monkeypatch.setattr(SpendStore, "prepare", fail)
    Bookkeeper(None, Metrics())
    assert_quoted(caplog.messages[-1])


def test_an_audit_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError) as raised:
        AuditLog(tmp_path / "nowhere/audit.jsonl")
    quoted_error(raised)


async def test_an_audit_log_that_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(Path("/dev/full"))
    assert not await log.write({})
    assert_quoted(caplog.messages[-1])


async def test_an_mcp_server_that_cannot_be_reached() -> None:
    source = McpSource("gone", McpEntry(url="http://127.0.0.1:9/mcp"), Secrets({}))
    with pytest.raises(AutoToolError) as raised:
        await source.start()
    await source.stop()
    quoted_error(raised)


async def test_an_mcp_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_connection, "START_SECONDS", 0.5)
    source = McpSource("gone", McpEntry(command=[sys.executable, "-c", "import time; time.sleep(60)"]), Secrets({}))
    with pytest.raises(AutoToolError) as raised:
        await source.start()
    await source.stop()
    quoted_error(raised)


def test_a_collector_that_takes_no_spans_and_then_does(caplog: pytest.LogCaptureFixture) -> None:
    results = [SpanExportResult.FAILURE, SpanExportResult.SUCCESS]

    class Down(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            del spans
            return results.pop(0)

    watched = Watched(Down(), "localhost:4318")
    with caplog.at_level(logging.WARNING):
        watched.export([])
        assert_quoted(caplog.messages[-1])
        watched.export([])
    assert "takes spans again." in caplog.messages[-1]


def test_an_extra_that_is_missing() -> None:
    assert_quoted(f"`autotool serve` needs the package fastapi: {extras.install_command('server')}.")
