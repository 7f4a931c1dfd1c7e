"""Settings of access: the address, the web pages and hosts that may call, and the keys."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from autotool_server.settings.group import Key, Names, SettingsGroup, Text, not_empty


class AccessSettings(SettingsGroup):
    """Where the server listens, and who may use it."""

    host: Text = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    allowed_origins: Names = ()
    """Origins whose web pages may call the server from a browser, separated by commas or as a JSON list, such as
    https://app.example; * is every origin. Default: none."""

    allowed_hosts: Names = ()
    """Names by which clients reach the server, separated by commas or as a JSON list, such as models.example; * is every name.
    localhost, names that end in .localhost or .internal, and IP addresses always hold. Requests with another Host are answered
    403 where names are given, and on a loopback address without a key, where a web page could reach the server by a name of
    its own. Default: none."""

    page: bool = True
    """Whether GET / is a playground in the browser: one question in all three modes, side by side, and what the server does
    meanwhile (docs/guides/page.md). It is a client like any other, and asks for a key where the server requires one."""

    api_key: Key | None = None
    """Key that clients must send as a bearer token. Default: no key is needed."""

    keys: Annotated[str, BeforeValidator(not_empty)] | None = None
    """File of the keys of many clients, in TOML, with what each may use and how much (docs/guides/keys.md). It is read again
    when it changes. With api_key beside it, that key holds too and is not limited. Default: none."""

    spend_store: Text | None = None
    """Database of what the keys of the keys file use, as sqlite:///spend.db or postgresql://user:password@host/name (extra
    postgresql), which several servers may share; it may be that of response_store. Default: the process's memory, which is
    empty after a restart and does not do for keys with tokens_per_day or tokens_per_month."""
