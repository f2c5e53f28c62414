"""The mailbox: bounded, in order, fair to questions, and deaf to clients that go away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from detector.mailbox import BURST, Mailbox, Overloaded


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox(capacity_bytes=1000)
    box.start()
    yield box
    box.stop()


class Gate:
    """Work that holds the thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.open.wait(10)


async def held(box: Mailbox) -> tuple[Gate, asyncio.Task[None]]:
    gate = Gate()
    task = asyncio.create_task(box.post(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


async def test_work_runs_in_the_order_of_arrival_and_returns_what_it_returns(mailbox: Mailbox) -> None:
    done: list[int] = []
    tasks = [asyncio.create_task(mailbox.post(lambda n=n: done.append(n) or n * 2)) for n in range(100)]  # type: ignore[misc]
    assert await asyncio.gather(*tasks) == [n * 2 for n in range(100)]
    assert done == list(range(100))


async def test_an_error_reaches_the_one_who_asked_and_the_thread_lives_on(mailbox: Mailbox) -> None:
    with pytest.raises(ZeroDivisionError):
        await mailbox.post(lambda: 1 // 0)
    assert await mailbox.post(lambda: "alive") == "alive"


async def test_what_does_not_fit_is_refused_and_the_products_own_entries_are_not(mailbox: Mailbox) -> None:
    gate, task = await held(mailbox)
    fits = asyncio.create_task(mailbox.post(lambda: None, size=1000))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await mailbox.post(lambda: None, size=1)
    assert refused.value.retry_after >= 1
    own = asyncio.create_task(mailbox.post(lambda: "advance", bounded=False))
    gate.open.set()
    await asyncio.gather(task, fits)
    assert await own == "advance"
    assert await mailbox.post(lambda: "room again", size=1000) == "room again"


async def test_a_body_larger_than_the_capacity_fits_into_an_empty_mailbox(mailbox: Mailbox) -> None:
    assert await mailbox.post(lambda: "taken", size=5000) == "taken"


async def test_a_question_waits_for_a_burst_at_most(mailbox: Mailbox) -> None:
    gate, task = await held(mailbox)
    order: list[str] = []
    ingest = [asyncio.create_task(mailbox.post(lambda: order.append("i"))) for _ in range(3 * BURST)]
    await asyncio.sleep(0)
    question = asyncio.create_task(mailbox.post(lambda: order.append("q"), lane=1))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(task, question, *ingest)
    assert order.index("q") <= BURST


async def test_a_client_that_goes_away_does_not_undo_its_entry(mailbox: Mailbox) -> None:
    gate, task = await held(mailbox)
    done: list[bool] = []
    leaver = asyncio.create_task(mailbox.post(lambda: done.append(True)))
    await asyncio.sleep(0)
    leaver.cancel()
    gate.open.set()
    await task
    await mailbox.post(lambda: None)
    assert done == [True]


async def test_after_stop_everything_waiting_was_done_and_nothing_more_is_taken() -> None:
    box = Mailbox(1000)
    box.start()
    gate, task = await held(box)
    waiting = asyncio.create_task(box.post(lambda: "done"))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(asyncio.to_thread(box.stop))
    gate.open.set()
    await stopping
    await task
    assert await waiting == "done"
    with pytest.raises(Overloaded):
        await box.post(lambda: None)
