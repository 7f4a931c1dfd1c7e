"""The schemas of requests: their grammars, which worker processes make, and what was found before."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cachetools import LRUCache

from autotool_core.errors import InvalidRequestError
from autotool_server.conversation.schema_workers import Found, SchemaWorkers

CACHE_CHARACTERS = 32 * 2**20
"""The length of all grammars and refusals that are kept."""
ENTRY_CHARACTERS = 256
"""What an entry counts beside its grammars."""


class Schemas:
    """Makes the grammars of requests, each once for as long as it is kept."""

    def __init__(self, workers: SchemaWorkers) -> None:
        self.workers = workers
        self._found: LRUCache[bytes, Found] = LRUCache(CACHE_CHARACTERS, getsizeof=_size)

    async def grammars(self, text: str | None, field: str) -> list[str | None]:
        """Return the grammars of a task (`schema_task.task_text`); none without a task. Raises InvalidRequestError.

        `field`: the field that an error names before the work on another has begun.
        """
        if text is None:
            return []
        key = hashlib.sha256(text.encode()).digest()
        found = self._found.get(key)
        if found is None:
            found = await self.workers.run(text, field)
            if _size(found) <= CACHE_CHARACTERS:
                self._found[key] = found
        if isinstance(found, InvalidRequestError):
            raise InvalidRequestError(str(found), found.field, code=found.code)
        return found

    async def are_valid(self, pairs: Sequence[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]) -> bool:
        """Return whether the arguments of calls are valid by their schemas, each a pair of schema and arguments."""
        found = await self.workers.run(json.dumps({"calls": pairs}), "tools")
        return not isinstance(found, InvalidRequestError) and not any(found)


def _size(found: Found) -> int:
    return ENTRY_CHARACTERS + (0 if isinstance(found, InvalidRequestError) else sum(len(text or "") for text in found))
