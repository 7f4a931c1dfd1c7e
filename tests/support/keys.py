"""Keys files for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from autotool_core.api_keys import hash_of
from support.serving import Running


def write_keys(folder: Path, **keys: Mapping[str, Any]) -> str:
    """Write a keys file, with the fields of each key by its name, which is also the key itself. Return its path."""
    lines: list[str] = []
    for name, fields in keys.items():
        lines += [f"[keys.{name}]", f'hash = "{hash_of(name)}"']
        lines += [f"{field} = {_toml(value)}" for field, value in fields.items()]
    path = folder / "keys.toml"
    path.write_text("\n".join(lines))
    return str(path)


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def client_of(server: Running, key: str | None = None) -> httpx.AsyncClient:
    """Return a client that sends a key."""
    # There is no TLS here, and reading the certificates would take longer than a request.
    url, headers = server.url.removesuffix("/v1"), bearer(key) if key is not None else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, verify=False)  # noqa: S501


def _toml(value: object) -> str:
    # JSON's texts, numbers and lists are TOML's too.
    return json.dumps(value)
