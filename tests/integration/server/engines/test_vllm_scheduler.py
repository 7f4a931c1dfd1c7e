"""vLLM's scheduler that makes decisions, with made-up outputs of a model and a cache that is too small."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed")

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.request_queue import SchedulingPolicy, create_request_queue
from vllm.v1.engine import EngineCoreOutput
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import LogprobsLists, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from autotool_core.decision import Readout
from autotool_core.modes import ResolvedMode
from autotool_server.engines import vllm_args, vllm_params
from autotool_server.engines.base import DecisionRequest, EngineRequest, Outcome, Sampling
from autotool_server.engines.vllm_scheduler import AsyncDecidingScheduler, Deciding, SyncDecidingScheduler

LONG, SHORT, TEXT = 1, 2, 9
"""The decision tokens, and the token of any text."""
BLOCK_TOKENS = 16
MAX_STEPS = 2000


@pytest.fixture(params=[SyncDecidingScheduler, AsyncDecidingScheduler])
def scheduler(request: pytest.FixtureRequest, base_model_dir: Path) -> Deciding:
    """A scheduler whose cache holds 15 blocks, one of which no request has."""
    arguments = AsyncEngineArgs(model=str(base_model_dir), max_model_len=128, max_num_seqs=32, enforce_eager=True)
    config = arguments.create_engine_config()
    config.scheduler_config.async_scheduling = request.param is AsyncDecidingScheduler
    config.cache_config.num_gpu_blocks = 16
    init_none_hash(sha256)
    layer = FullAttentionSpec(block_size=BLOCK_TOKENS, num_kv_heads=1, head_size=1, dtype=torch.float32)
    cache = KVCacheConfig(num_blocks=16, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], layer)])
    return request.param(config, cache, StructuredOutputManager(config), BLOCK_TOKENS, log_stats=True)


def decision(name: str, prompt_tokens: int, mode: ResolvedMode, max_tokens: int = 20, injected: int = 2) -> Request:
    prompt = [10 + len(name)] * prompt_tokens
    generation = EngineRequest(f"{name}-1", prompt, max_tokens, sampling=Sampling(temperature=0))
    outcomes = {ResolvedMode.LONG: Outcome([], generation), ResolvedMode.SHORT: Outcome([3] * injected, generation)}
    bias = 9.0 if mode is ResolvedMode.LONG else -9.0
    request = DecisionRequest(name, prompt, (LONG, SHORT), outcomes, bias, temperature=0)
    return with_blocks(name, prompt, vllm_params.decision_params(request, (0,)))


def with_blocks(name: str, prompt: list[int], params: SamplingParams) -> Request:
    return Request(name, prompt, params, None, block_hasher=get_request_block_hasher(BLOCK_TOKENS, sha256))


def outputs(scheduler: Deciding, scheduled: SchedulerOutput, partial: Sequence[str] | None = None) -> list[EngineCoreOutput]:
    """What a model would answer: text, and for a score the likelihoods of both candidates.

    `partial`: the requests of which the step had a part of the prompt alone, where another step has been scheduled since.
    """
    names = list(scheduled.num_scheduled_tokens)
    if partial is None:
        partial = [name for name in names if scheduler.requests[name].is_prefill_chunk]
    sampled = [[] if name in partial else [TEXT] for name in names]
    row = np.array([[LONG, LONG, SHORT]] * len(names)), np.array([[-1.0, -1.0, -2.0]] * len(names), dtype=np.float32)
    logprobs = LogprobsLists(*row, np.zeros(len(names), dtype=np.int32))
    output = ModelRunnerOutput(names, {name: row for row, name in enumerate(names)}, sampled, logprobs)
    return [part for client in scheduler.update_from_output(scheduled, output).values() for part in client.outputs]


def run(scheduler: Deciding) -> Iterator[EngineCoreOutput]:
    for _ in range(MAX_STEPS):
        if not scheduler.has_requests():
            return
        yield from outputs(scheduler, scheduler.schedule())
    pytest.fail("requests are stuck")


def tokens_of(scheduler: Deciding) -> dict[str, list[int]]:
    tokens: dict[str, list[int]] = {}
    for output in run(scheduler):
        tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
    return tokens


def due(name: str, arrival: float, delay: float | None, priority: int = 0) -> Request:
    """A request of a generation, a score, or a decision and a generation, as its name says, due so long after its arrival."""
    time_due = None if delay is None else time.perf_counter() + delay
    generation = EngineRequest(f"{name}-1", [9] * 20, 20, sampling=Sampling(temperature=0), due=time_due)
    outcomes = {mode: Outcome([], generation) for mode in ResolvedMode}
    deciding = DecisionRequest(name, [9] * 20, (LONG, SHORT), outcomes, temperature=0)
    params = {
        "deciding": lambda: vllm_params.decision_params(deciding, (0,)),
        "scoring": lambda: vllm_params.score_params((LONG, SHORT), time_due),
    }.get(name.split(maxsplit=1)[0], lambda: vllm_params.generation_params(generation, (0,)))
    return Request(name, [9] * 20, params(), None, arrival_time=arrival, priority=priority)


def order(scheduler: Deciding, *requests: Request) -> list[str]:
    scheduler.waiting = create_request_queue(SchedulingPolicy.PRIORITY)
    for request in requests:
        scheduler.add_request(request)
    return [request.request_id for request in scheduler.waiting]


def test_later_requests_go_before_one_until_it_is_due(scheduler: Deciding) -> None:
    requests = [
        due("long", 100, 30),
        due("deciding", 101, 20),
        due("soon", 110, 5),
        due("late", 131, None),
        due("urgent", 140, 30, priority=-1),
    ]
    assert order(scheduler, *requests) == ["urgent", "soon", "deciding", "long", "late"]


@pytest.mark.parametrize("name", ["step", "deciding step", "scoring step"])
def test_a_step_of_a_turn_that_has_begun_goes_before_what_came_since_it_was_due(scheduler: Deciding, name: str) -> None:
    requests = [due("short", 120, None), due("new", 139, 0), due(name, 140, -30), due("before", 105, None)]
    assert order(scheduler, *requests) == ["before", name, "short", "new"]


def test_a_request_goes_on_after_its_decision(scheduler: Deciding) -> None:
    for name, mode in (("long", ResolvedMode.LONG), ("short", ResolvedMode.SHORT)):
        scheduler.add_request(decision(name, 20, mode, max_tokens=3))
    scheduled = scheduler.schedule()
    assert [output.new_token_ids for output in outputs(scheduler, scheduled)] == [[LONG], [SHORT]]
    again = scheduler.schedule()
    # The decision token alone, or with the two that follow it; nothing of the prompt.
    assert again.num_scheduled_tokens == {"long": 1, "short": 3}
    assert [request.num_computed_tokens for request in again.scheduled_new_reqs] == [20, 20]
    outputs(scheduler, again)
    assert tokens_of(scheduler) == {"long": [TEXT] * 2, "short": [TEXT] * 2}


@pytest.mark.parametrize(("weight", "mode"), [(1.0, ResolvedMode.LONG), (-1.0, ResolvedMode.SHORT)])
def test_a_decision_is_read_from_further_tokens(scheduler: Deciding, weight: float, mode: ResolvedMode) -> None:
    """The model of these tests gives LONG more than SHORT; what is read is SHORT against another token, of the same."""
    prompt = [5] * 20
    generation = EngineRequest("read-1", prompt, 3, sampling=Sampling(temperature=0))
    outcomes = {ResolvedMode.LONG: Outcome([], generation), ResolvedMode.SHORT: Outcome([3], generation)}
    readout = Readout((0.0, -weight, weight), intercept=-0.5 * weight)
    request = DecisionRequest("read", prompt, (LONG, SHORT, TEXT), outcomes, temperature=0, readout=readout)
    params = vllm_params.decision_params(request, (0,))
    assert params.num_logprobs == 3
    scheduler.add_request(with_blocks("read", prompt, params))
    scheduled = scheduler.schedule()
    row = np.array([[LONG, LONG, SHORT, TEXT]]), np.array([[-1.0, -1.0, -2.0, -1.0]], dtype=np.float32)
    logprobs = LogprobsLists(*row, np.zeros(1, dtype=np.int32))
    scheduler.update_from_output(scheduled, ModelRunnerOutput(["read"], {"read": 0}, [[TEXT]], logprobs))
    ids = scheduler.requests["read"].prompt_token_ids
    assert ids is not None
    assert ids[20] == (LONG if mode is ResolvedMode.LONG else SHORT)


def test_a_decided_request_goes_before_new_ones(scheduler: Deciding) -> None:
    scheduler.add_request(decision("first", 20, ResolvedMode.LONG))
    outputs(scheduler, scheduler.schedule())
    for number in range(40):
        scheduler.add_request(decision(f"later{number}", 16, ResolvedMode.LONG))
    assert "first" in scheduler.schedule().num_scheduled_tokens


@pytest.mark.parametrize("prompt_tokens", [15, 16, 31, 32, 48])
@pytest.mark.parametrize("number", [3, 7, 15, 30])
@pytest.mark.parametrize("injected", [2, 40])
def test_none_is_stuck_where_decisions_fill_the_cache(
    scheduler: Deciding, prompt_tokens: int, number: int, injected: int
) -> None:
    """A prompt of whole blocks needs another one for its next token, when all are held by others in the same position."""
    for index in range(number):
        mode = ResolvedMode.LONG if index % 2 else ResolvedMode.SHORT
        scheduler.add_request(decision("x" * (index + 1), prompt_tokens, mode, injected=injected))
    tokens = tokens_of(scheduler)
    assert len(tokens) == number
    assert all(len(decoded) == 21 for decoded in tokens.values())
    assert scheduler.kv_cache_manager.usage == 0


def run_ahead(scheduler: Deciding) -> dict[str, list[int]]:
    """Run with each step scheduled before the outputs of the one before it are known, as an asynchronous engine does."""
    tokens: dict[str, list[int]] = {}
    waiting: deque[tuple[SchedulerOutput, list[str]]] = deque()
    for _ in range(MAX_STEPS):
        if scheduler.has_requests():
            scheduled = scheduler.schedule()
            named = scheduled.num_scheduled_tokens
            waiting.append((scheduled, [name for name in named if scheduler.requests[name].is_prefill_chunk]))
        if len(waiting) > 1 or (waiting and not scheduler.has_requests()):
            for output in outputs(scheduler, *waiting.popleft()):
                tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
        elif not waiting:
            return tokens
    pytest.fail("requests are stuck")


@pytest.mark.parametrize("number", [2, 5, 12])
def test_a_request_that_loses_its_cache_before_its_decision_is_scored_again(scheduler: Deciding, number: int) -> None:
    """The cache becomes full by requests that grow, while later ones are being decided."""
    if not isinstance(scheduler, AsyncDecidingScheduler):
        pytest.skip("there is no step ahead")
    grow = [with_blocks(f"grows{index}", [5 + index] * 46, SamplingParams(max_tokens=40, temperature=0)) for index in range(3)]
    for request in grow:
        scheduler.add_request(request)
    for index in range(number):
        scheduler.add_request(decision("x" * (index + 1), 15 + index, ResolvedMode.LONG))
    tokens = run_ahead(scheduler)
    assert {name: len(decoded) for name, decoded in tokens.items()} == {
        **{request.request_id: 40 for request in grow},
        **{"x" * (index + 1): 21 for index in range(number)},
    }
    assert all(decoded[0] == LONG for name, decoded in tokens.items() if name.startswith("x"))


def test_runners_free_the_place_of_a_decided_request(scheduler: Deciding) -> None:
    """A request that waits for its grammar, or for room, takes no place of a running one meanwhile."""
    scheduler.add_request(decision("first", 20, ResolvedMode.LONG))
    outputs(scheduler, scheduler.schedule())
    assert scheduler.schedule().preempted_req_ids == {"first"}


def test_a_decision_is_queued_once_for_metrics(scheduler: Deciding) -> None:
    scheduler.add_request(decision("first", 20, ResolvedMode.LONG))
    [output] = outputs(scheduler, scheduler.schedule())
    assert [event.type.name for event in output.events or ()] == ["QUEUED", "SCHEDULED"]


def test_an_aborted_request_leaves_nothing(scheduler: Deciding) -> None:
    scheduler.add_request(decision("waiting", 20, ResolvedMode.LONG))
    scheduler.add_request(decision("decided", 20, ResolvedMode.LONG))
    scheduler.finish_requests("waiting", RequestStatus.FINISHED_ABORTED)
    outputs(scheduler, scheduler.schedule())
    scheduler.finish_requests("decided", RequestStatus.FINISHED_ABORTED)
    assert tokens_of(scheduler) == {}
    assert (scheduler._pending, scheduler.kv_cache_manager.usage) == ({}, 0)


def test_other_requests_are_left_alone(scheduler: Deciding) -> None:
    scheduler.add_request(with_blocks("plain", [5] * 20, SamplingParams(max_tokens=4, temperature=0)))
    assert tokens_of(scheduler) == {"plain": [TEXT] * 4}


@pytest.mark.parametrize("own", [None, "vllm.v1.core.sched.scheduler.Scheduler"])
def test_a_scheduler_of_the_users_own_is_kept(base_model_dir: Path, own: str | None) -> None:
    config = AsyncEngineArgs(model=str(base_model_dir), max_model_len=128, scheduler_cls=own).create_engine_config()
    vllm_args.add_scheduler(config)
    assert issubclass(config.scheduler_config.get_scheduler_cls(), Deciding) == (own is None) == vllm_args.decides(config)
