"""The built-in tool `fetch`: GET of a public URL, as text.

The model chooses the URL, so nothing in this machine's network may be reached: `network.PublicTransport` checks the first
request and each redirect. Every request has its own client, so that no cookies and no connections are shared.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx

from autotool_server.tools.base import Policy, Tool, ToolError, ToolSpec, TransientError
from autotool_server.tools.network import PublicTransport, charset, read_body, tls_context
from autotool_server.tools.sources.http import http_error

MAX_REDIRECTS = 5
MAX_PAGE_BYTES = 1024 * 1024
"""The largest page that is read. The model gets parts of it, of the policy's size."""
PORTS = {None, 80, 443}

POLICY = Policy(timeout=20.0, read_only=True, idempotent=True, max_failures=0)

DESCRIPTION = """Read a public web page or text file by its URL (HTTP GET). HTML is returned as its title and text. \
A long text is cut; call again with the `start` it names to read on."""

PARAMETERS = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "description": "An http or https URL."},
        "start": {"type": "integer", "minimum": 0, "description": "The character to begin at. Default 0."},
    },
    "required": ["url"],
    "additionalProperties": False,
}

_HEADERS = {"User-Agent": "autotool-server", "Accept": "text/*, application/json, */*;q=0.1", "Accept-Encoding": "identity"}
_TIMEOUT = httpx.Timeout(None, connect=5.0)  # limits the wait for one address; the executor limits the call
_TEXT = re.compile(r"text/.*|(application|image)/(.*\+)?(json|xml)|application/(javascript|yaml|x-yaml|x-ndjson|toml)")
_HTML = {"text/html", "application/xhtml+xml"}


def fetch_tool(policy: Policy = POLICY, transport: Callable[[], httpx.AsyncBaseTransport] | None = None) -> Tool:
    """Return the tool. `transport` creates the transport of each request; tests replace it."""
    return _Fetch(ToolSpec("fetch", DESCRIPTION, PARAMETERS, policy, source="builtin"), transport or _public)


def _public() -> httpx.AsyncBaseTransport:
    return PublicTransport(httpx.AsyncHTTPTransport(verify=tls_context(), trust_env=False))


@dataclass(frozen=True, slots=True)
class _Fetch:
    spec: ToolSpec
    transport: Callable[[], httpx.AsyncBaseTransport]

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the text of the page. Raises ToolError if the URL may not be reached or its status is no success."""
        try:
            response, body = await self._follow(_parse_url(arguments["url"]))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TransientError("The host cannot be reached.") from error
        except httpx.HTTPError as error:
            raise TransientError("The host broke off the connection before it had answered.") from error
        # In a thread, because a page of the largest size takes a while.
        text = await asyncio.to_thread(_readable_text, response, body)
        if not response.is_success:
            raise http_error(response, text)
        return _part(text, int(arguments.get("start", 0)), self.spec.policy.max_result_bytes)

    async def _follow(self, url: httpx.URL) -> tuple[httpx.Response, bytes]:
        for _ in range(MAX_REDIRECTS + 1):
            response, body = await self._get(url)
            if not response.has_redirect_location:
                return response, body
            url = _parse_url(response.headers["location"], url)
        raise ToolError(f"The page is behind more than {MAX_REDIRECTS} redirects.")

    async def _get(self, url: httpx.URL) -> tuple[httpx.Response, bytes]:
        """Return the response to one request, and its body if that is text."""
        limit = max(MAX_PAGE_BYTES, self.spec.policy.max_result_bytes)
        async with (
            httpx.AsyncClient(transport=self.transport(), trust_env=False, timeout=_TIMEOUT, headers=_HEADERS) as client,
            client.stream("GET", url, follow_redirects=False) as response,
        ):
            skip = response.has_redirect_location or not _TEXT.fullmatch(_media_type(response))
            return response, b"" if skip else await read_body(response, limit)


def _parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Return the URL of a text. Raises ToolError unless it is http(s), without a user and with a default port."""
    try:
        url = base.join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise ToolError("This is not a URL.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ToolError("The URL must begin with http:// or https:// and a host.")
    if url.userinfo or url.port not in PORTS:
        raise ToolError("The URL must have no user name and no port other than 80 and 443.")
    return url


def _media_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()


def _readable_text(response: httpx.Response, body: bytes) -> str:
    """Return the text of a body, or a sentence about its type if it is no text."""
    media_type = _media_type(response)
    if not _TEXT.fullmatch(media_type):
        size = response.headers.get("content-length", "")
        return f"A document of type {media_type[:100]}, of {size[:20] if size.isdigit() else 'unknown'} bytes. It is not text."
    text = body.decode(charset(response), "replace")
    return html_text(text) if media_type in _HTML else text


def _part(text: str, start: int, limit: int) -> str:
    """Return the text from character `start`, at most `limit` bytes of UTF-8, with a note if there is more."""
    rest = text[start:].encode(errors="replace")
    if len(rest) <= limit:
        return rest.decode()
    note = "\n[cut here; read on with start={}]"
    part = rest[: limit - len(note) - 10].decode(errors="ignore")
    return part + note.format(start + len(part))


def html_text(html: str) -> str:
    """Return the title and the text of a page, one line for each block.

    This is one pass over the page. `html.parser` of older releases takes minutes for a hostile page of 64 KB
    (CVE-2025-6069).
    """
    parts, position = list[str](), 0
    while (tag := html.find("<", position)) >= 0:
        parts.append(html[position:tag])
        name, position = _skip_tag(html, tag)
        parts.append("\n" if name in _BLOCKS else "")
    parts.append(html[position:])
    lines = (" ".join(line.split()) for line in _unescape("".join(parts)).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


_TAG_START = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)|<[!?/]")
_HIDDEN = {"script", "style", "noscript", "template", "svg", "iframe"}
_BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
    ),
    *("h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "title", "tr", "ul"),
}


def _skip_tag(html: str, start: int) -> tuple[str, int]:
    """Return the name of the tag at `start`, empty if there is no tag, and the position after it.

    The position after a hidden element is that of its closing tag.
    """
    opening = _TAG_START.match(html, start)
    if opening is None:
        return "", start + 1
    name = (opening[1] or "").lower()
    if name in _HIDDEN and html[start + 1] != "/":
        closing = re.compile(f"</{name}", re.IGNORECASE).search(html, opening.end())
        return name, closing.start() if closing else len(html)
    end = "-->" if html.startswith("<!--", start) else ">"
    position = html.find(end, opening.end())
    return name, position + len(end) if position >= 0 else len(html)


def _unescape(text: str) -> str:
    """Return the text with character references such as `&amp;` replaced."""
    try:
        return unescape(text)
    except ValueError:  # a reference with a number of thousands of digits
        return text
