"""Settings of answers: the fields of their reasoning, and how responses and sealed reasoning are kept."""

from typing import Literal

from pydantic import Field

from autotool_server.settings.group import Key, SettingsGroup, Text


class AnswerSettings(SettingsGroup):
    """What answers carry, and what is kept of them for the next request."""

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
