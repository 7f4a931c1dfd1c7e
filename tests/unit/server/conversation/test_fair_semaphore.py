"""What is shared out fairly: places, threads and processes for the work on requests."""

import asyncio
import itertools
import random

import pytest

from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT, FairSemaphore
from autotool_server.conversation.text_threads import TextThreads


async def test_one_that_asks_often_does_not_hold_up_the_others() -> None:
    semaphore, order = FairSemaphore(2), list[str]()

    async def work(share: str) -> None:
        CURRENT_CLIENT.set(share)
        async with semaphore:
            await asyncio.sleep(0)
            order.append(share)

    tasks = [asyncio.create_task(work("many")) for _ in range(50)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(work("few")) for _ in range(3)]
    await asyncio.gather(*tasks)
    assert len(order) == 53
    assert len(order) - order[::-1].index("few") < 12


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_whoever_leaves(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 a test, not a secret
    semaphore, held = FairSemaphore(3), 0

    async def work() -> None:
        nonlocal held
        CURRENT_CLIENT.set(rng.choice("abc"))
        async with semaphore:
            held += 1
            assert held <= 3
            try:
                await asyncio.sleep(0)
            finally:
                held -= 1

    tasks = [asyncio.create_task(work()) for _ in range(30)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        rng.choice(tasks).cancel()
    assert [task.exception() for task in tasks if not task.cancelled()].count(None) == sum(
        not task.cancelled() for task in tasks
    )
    assert (semaphore._free, held, len(semaphore._waiting)) == (3, 0, 0)


async def test_one_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    semaphore = FairSemaphore(1)
    await semaphore.acquire()
    first, second = (asyncio.create_task(semaphore.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    semaphore.release()
    first.cancel()
    async with asyncio.timeout(5):
        await second
    assert first.cancelled()


async def test_threads_for_long_prompts_are_shared_out() -> None:
    texts, order = TextThreads(), list[str]()

    async def work(share: str) -> None:
        CURRENT_CLIENT.set(share)
        await texts.run(order.append, share)

    tasks = [asyncio.create_task(work("many")) for _ in range(40)]
    tasks.append(asyncio.create_task(work("few")))
    await asyncio.gather(*tasks)
    texts.close()
    assert order.index("few") < 20


async def test_the_loop_turns_between_two_pieces_of_work_on_it() -> None:
    """Or else a probe of health waits until all requests of a burst are prepared."""
    texts, order = TextThreads(), list[str]()
    probe = asyncio.create_task(turns(order))
    await asyncio.gather(*(texts.on_loop()(order.append, "work") for _ in range(20)))
    probe.cancel()
    texts.close()
    assert order.count("work") == 20
    assert all(pair != ("work", "work") for pair in itertools.pairwise(order))


async def test_a_request_that_has_begun_is_worked_on_before_the_others() -> None:
    texts, order = TextThreads(), list[tuple[int, int]]()

    async def prepare(number: int) -> None:
        run = texts.on_loop()
        for piece in range(4):
            await run(order.append, (number, piece))

    await asyncio.gather(*(prepare(number) for number in range(50)))
    texts.close()
    assert [number for number, piece in order if piece == 3] == [*range(50)]
    # Within the first pieces of all, but for every eighth, which goes by fairness alone.
    assert order.index((0, 3)) < 20


async def turns(order: list[str]) -> None:
    while True:
        order.append("turn")
        await asyncio.sleep(0)
