"""Settings of limits: how long stopping takes, admission and the queue, bodies, connections, and what requests may ask for."""

from typing import Literal

from pydantic import Field

from autotool_server.settings.group import SettingsGroup


class LimitSettings(SettingsGroup):
    """How much the server takes on at once and from one request, and when it gives up waiting."""

    drain_seconds: float = Field(default=300, ge=0)
    """Seconds that requests may still take after the first Ctrl-C or SIGTERM; what is left then ends with an error. Set it at
    least 20 seconds below the time after which the process is killed, such as the 30 seconds of Kubernetes."""

    max_concurrent_requests: int = Field(default=2048, ge=1)
    """Requests served at once, those that wait to be admitted included; more are answered 503 with Retry-After."""

    max_running_requests: int | None = Field(default=None, ge=1)
    """Requests that the engine has at once, each choice counted; more wait to be admitted. Default: what the engine decodes at
    once (max_num_seqs of vllm and transformers) and an eighth more; 256 with the remote engine, for which max_num_seqs of all
    its servers together is best."""

    max_running_tokens: int | None = Field(default=None, ge=1)
    """Tokens that the requests in the engine are expected to need together, prompts included; more wait to be admitted. A
    request that is larger runs alone. Default: the size of the engine's cache; no limit with the remote engine."""

    max_queue_seconds: float = Field(default=60, ge=0)
    """Seconds that a request may wait to be admitted; then, or at once if the wait is expected to be longer, it is answered 503
    with Retry-After. 0: no request waits. A proxy in front must wait longer for a first byte: most give up after 60 seconds."""

    short_first_seconds: float = Field(default=0, ge=0)
    """Seconds that the longest requests may be passed for, in the queue and in vllm, by shorter ones that come later; those in
    between for a part of it (docs/guides/serve.md). Default: 0, first come, first served."""

    max_long_share: float = Field(default=1, gt=0, le=1)
    """Part of the answers that the engine decodes at once that may be in `long`, or in `auto` without a decision for short yet,
    so that a short call finds a place beside them (docs/guides/serve.md). Default: 1, all."""

    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    """Largest request body in bytes; more is answered 413."""

    max_bodies_bytes: int = Field(default=256 * 2**20, ge=1024)
    """Bytes of the bodies of all requests that are read or answered, together; what does not fit is answered 503 with
    Retry-After. One body of max_body_bytes always fits."""

    max_connections: int = Field(default=8192, ge=2)
    """Connections open at once, but no more than half of the files that the process may open (ulimit -Hn). Beyond that the one
    that has been idle for the longest time is closed; if too many are busy, all but health probes are answered 503."""

    receive_seconds: float = Field(default=10, gt=0)
    """Seconds in which the headers of a request must arrive, and the longest pause within its body, which must also arrive at
    8 KiB a second on average once it has taken so long; else the answer is 408."""

    keep_alive_seconds: float = Field(default=5, gt=0)
    """Seconds for which a connection stays open after an answer for the next request. Behind a load balancer that keeps
    connections, set it above the load balancer's own."""

    send_seconds: float = Field(default=30, ge=1)
    """Seconds after which a client that takes nothing of its answer, or next to nothing, is cut off, and the answer is ended
    (Linux)."""

    schema_seconds: int = Field(default=5, ge=1)
    """CPU time in seconds that checking the JSON schemas of a request and making their grammars may take; more is answered
    400."""

    unknown_fields: Literal["warn", "refuse", "ignore"] = "warn"
    """Fields of a request that this server does not know: warn leaves them out and names them in the answer
    (autotool.ignored) and in the header x-autotool-ignored, refuse answers 400, ignore leaves them out."""

    max_choices: int = Field(default=16, ge=1)
    """Largest n of a request."""
