"""The loop in which all calls are made: order, caps, failures, and what is left when somebody leaves."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from auditor.aws.loop import in_lanes, run, told_by, working
from auditor.aws.spending import FIRST, LATER, Gate


class Gauge:
    """How many are inside at once, and the most that ever were."""

    def __init__(self) -> None:
        """Nobody is."""
        self.inside = self.most = 0

    async def visit(self, seconds: float = 0.002) -> None:
        """Be inside for a while."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.inside -= 1


def test_results_keep_the_order_of_their_calls() -> None:
    """Whatever order they are done in; no call at all is no result."""

    async def slow(number: int) -> int:
        await asyncio.sleep(0.02 / (number + 1))
        return number

    assert run(in_lanes([partial(slow, number) for number in range(10)], 4)) == list(range(10))
    assert run(in_lanes(list[Callable[[], Awaitable[int]]](), 4)) == []


def test_lanes_cap_what_is_under_way_and_are_used() -> None:
    """Never more at once than there are lanes, and no fewer where there is work."""
    gauge = Gauge()
    run(in_lanes([gauge.visit] * 30, 6))
    assert gauge.most == 6


def test_the_first_failure_ends_all_and_is_raised_as_it_is() -> None:
    """What is under way is ended, what waits is not begun."""
    gauge = Gauge()
    begun = Counter[str]()

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def other() -> None:
        begun["other"] += 1
        await gauge.visit(10)

    with pytest.raises(ValueError, match="no"):
        run(in_lanes([other, fail, other, other], 3))
    assert begun["other"] == 2
    assert gauge.inside == 0


def test_what_is_told_is_heard_here_as_it_comes() -> None:
    """In the thread that asked, one at a time, and with what ended the work at its end."""
    heard = threading.Event()

    async def work(tell: Callable[[int], None]) -> None:
        tell(1)
        assert await asyncio.to_thread(heard.wait, 5)
        tell(2)
        raise ValueError("no more")

    news = told_by(work)
    assert next(news) == 1
    heard.set()
    assert next(news) == 2
    with pytest.raises(ValueError, match="no more"):
        next(news)


def test_who_stops_listening_ends_the_work() -> None:
    """Nothing goes on behind the back of somebody who has left."""
    gauge = Gauge()

    async def work(tell: Callable[[int], None]) -> None:
        tell(1)
        await gauge.visit(60)

    for _ in told_by(work):
        break
    with pytest.raises(RuntimeError, match="gone"), working(gauge.visit(60)):
        raise RuntimeError("gone")
    assert gauge.inside == 0


def test_the_gate_lets_in_the_more_urgent_and_then_the_first() -> None:
    """Reports are asked for before any is fetched, in the order of the accounts."""
    came: list[tuple[int, int]] = []

    async def visit(gate: Gate, urgency: int, number: int) -> None:
        await gate.enter(urgency)
        came.append((urgency, number))
        await asyncio.sleep(0)
        gate.leave()

    async def visits() -> None:
        gate = Gate(1)
        await gate.enter(FIRST)
        waiting = [asyncio.create_task(visit(gate, urgency, n)) for n in range(3) for urgency in (LATER, FIRST)]
        await asyncio.sleep(0)
        gate.leave()
        await asyncio.gather(*waiting)

    run(visits())
    assert came == [(urgency, number) for urgency in (FIRST, LATER) for number in range(3)]


@pytest.mark.parametrize("is_given", [False, True])
def test_a_place_at_the_gate_is_never_lost(*, is_given: bool) -> None:
    """Who is ended while waiting, or just as the place is given, leaves it to the next."""

    async def visits() -> bool:
        gate = Gate(1)
        await gate.enter(FIRST)
        ended = asyncio.create_task(gate.enter(FIRST))
        following = asyncio.create_task(gate.enter(FIRST))
        await asyncio.sleep(0)
        if is_given:
            gate.leave()
            ended.cancel()
        else:
            ended.cancel()
            await asyncio.sleep(0)
            gate.leave()
        await asyncio.wait_for(following, 5)
        return ended.cancelled() or ended.done()

    assert run(visits())
