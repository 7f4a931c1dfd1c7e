"""The order in which the manager of transformers takes requests into its batch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler

if TYPE_CHECKING:
    from autotool_server.engines.transformers.slots import Slot

EXPRESS_SEATS = 4
"""Places of the batch that only requests for one token have: decisions, and answers that are no longer. Each holds its place
for one step, or for as many as its prompt needs, so that it does not wait until a long answer ends."""


def _is_express(state: RequestState) -> bool:
    return state.max_new_tokens == 1


class Scheduler(FIFOScheduler):
    """A first-come, first-served scheduler with four additions to the manager's own."""

    slots: "Mapping[str, Slot]"

    def reset(self) -> None:
        super().reset()
        self._batch: dict[str, FutureRequestState] = {}

    def schedule_batch(self, token_budget: int, cache_budget: int) -> tuple[list[FutureRequestState] | None, bool, int, int]:
        """Also record how many tokens of a prompt are from the cache."""
        batch = super().schedule_batch(token_budget, cache_budget)
        self._batch = {request.state.request_id: request for request in batch[0] or ()}
        for request_id, request in self._batch.items():
            slot = self.slots.get(request_id)
            if slot is not None and slot.is_waiting:
                slot.scheduled(request.state.position_offset)
        return batch

    def finish_request(self, request_id: str) -> None:
        """Also keep the pages that the last forward filled. For a score, the last forward is the only one."""
        request = self._batch.get(request_id)
        if request is not None:
            written = request.state.initial_tokens + request.state.generated_tokens[:-1]
            for kind, pages in request.complete_blocks.items():
                self.cache.cache_allocators[kind].mark_complete_blocks(request_id, written, pages)
        super().finish_request(request_id)

    def clear_cancelled_requests(self) -> list[RequestState]:
        """Also admit new requests. With a full cache they wait until one finishes, but a cancelled request never does."""
        cancelled = super().clear_cancelled_requests()
        if cancelled:
            self.block_new_requests = False
        return cancelled

    def _get_waiting_candidates(self) -> list[RequestState]:
        """Return the requests that may be taken: for the express seats first, then those for which a seat is free, in order."""
        waiting = super()._get_waiting_candidates()
        num_express = sum(map(_is_express, self.active_requests.values()))
        num_free = self.max_requests_per_batch - EXPRESS_SEATS - (len(self.active_requests) - num_express)
        express = [state for state in waiting if _is_express(state)][: max(EXPRESS_SEATS - num_express, 0)]
        taken = {state.request_id for state in express}
        return [*express, *[state for state in waiting if state.request_id not in taken][: max(num_free, 0)]]


SCHEDULER = "autotool"
SCHEDULER_MAPPING[SCHEDULER] = Scheduler
