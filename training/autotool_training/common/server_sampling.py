"""Sampling from a server in place of a model: vLLM's completions, which take and return token ids."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from autotool_core.errors import AutoToolError

_CONCURRENT = 64


class ServerSampler:
    """Samples from the only, or the first, model of a vLLM server. `url` is its address, with `/v1` or without.

    Raises AutoToolError if the server cannot be reached, or is no vLLM server.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/v1") + "/v1"
        # An answer takes as long as it takes; a server that is not there is noticed at once.
        self._client = httpx.Client(timeout=httpx.Timeout(None, connect=30.0), limits=httpx.Limits(max_connections=_CONCURRENT))
        try:
            self._model = self._ask("GET", "models")["data"][0]["id"]
        except (LookupError, TypeError, ValueError) as error:
            raise AutoToolError(f"{self._url} names no model: it has to be a vLLM server.") from error

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        allowed: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """Return a response to each prompt, as `common.sampling.sample` does; with `allowed` of these tokens alone.

        Raises AutoToolError if the server cannot be reached, refuses a request, or returns no token ids.
        """
        body = {"model": self._model, "max_tokens": max_tokens, "temperature": temperature, "return_token_ids": True}
        # Whatever the checkpoint's generation config says.
        body |= {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        body |= {} if allowed is None else {"allowed_token_ids": [*allowed]}
        bodies = [body | {"prompt": [*prompt], "seed": seed + at} for at, prompt in enumerate(prompts)]
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            return list(pool.map(self._complete, bodies))

    def sample_deciding(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, decisions: Sequence[int], *, seed: int = 0
    ) -> list[list[int]]:
        """Return a response to each prompt whose first token is one of the decision tokens."""
        first = self.sample(prompts, 1, seed=seed, allowed=decisions)
        decided = [[*prompt, *token] for prompt, token in zip(prompts, first, strict=True)]
        # Other seeds than those of the decisions.
        rest = self.sample(decided, max_tokens - 1, seed=seed + len(prompts))
        return [token + response for token, response in zip(first, rest, strict=True)]

    def _complete(self, body: dict[str, Any]) -> list[int]:
        ids = self._ask("POST", "completions", body)["choices"][0].get("token_ids")
        if ids is None:
            raise AutoToolError(f"{self._url} returns no token ids: it has to be a vLLM server (`return_token_ids`).")
        return ids

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._url}/{path}", json=body)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            detail = error.response.text[:300]
            raise AutoToolError(f"{self._url} refuses a request: {error.response.status_code}: {detail}") from error
        except httpx.HTTPError as error:
            raise AutoToolError(f"{self._url} cannot be reached: start its server and run again to go on.") from error
        return answer.json()
