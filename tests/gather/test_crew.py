"""The threads that carry out many accounts' steps: order, caps, failures and stopping."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from auditor.aws.steps import Pause, Steps, Together
from auditor.gather.crew import Crew


def crew(threads: int = 4, together: int = 2, stop: threading.Event | None = None) -> Crew[int, int]:
    """A crew whose pauses nobody counts."""
    return Crew(threads, together=together, on_pause=lambda _: None, stop=stop or threading.Event())


class Gauge:
    """How many are inside at once, by key, and the most that ever were."""

    def __init__(self) -> None:
        """Nobody is."""
        self._lock = threading.Lock()
        self._inside: Counter[object] = Counter()
        self.most: Counter[object] = Counter()

    def call(self, *keys: object, seconds: float = 0.005) -> None:
        """Be inside for a while."""
        self._move(keys, 1)
        time.sleep(seconds)
        self._move(keys, -1)

    def _move(self, keys: tuple[object, ...], step: int) -> None:
        with self._lock:
            for key in keys:
                self._inside[key] += step
                self.most[key] = max(self.most[key], self._inside[key])


def test_every_piece_of_work_gives_one_result() -> None:
    """Those that pause, those that do not, and those that want nothing done."""

    def steps(number: int) -> Steps[int]:
        if number % 3 == 0:
            yield Pause(0.01)
        if number % 3 == 1:
            assert (yield Together(())) == []
        return number * 2

    results = list(crew().run((number, steps(number)) for number in range(50)))
    assert sorted(results) == [(number, number * 2) for number in range(50)]


def test_calls_wanted_together_come_back_in_their_order() -> None:
    """Whatever order they are done in."""

    def slow(number: int) -> Callable[[], int]:
        def call() -> int:
            time.sleep(0.02 / (number + 1))
            return number

        return call

    def steps() -> Steps[int]:
        results = yield Together(tuple(slow(number) for number in range(10)))
        assert results == list(range(10))
        return len(results)

    assert list(crew().run([(1, steps())])) == [(1, 10)]


def test_calls_in_flight_are_capped_in_all_and_for_each() -> None:
    """Threads are the cap on all, `together` that on one; both are used to the full."""
    gauge = Gauge()

    def steps(number: int) -> Steps[int]:
        yield Together(tuple(lambda: gauge.call("all", number) for _ in range(12)))
        return number

    assert len(list(crew(threads=6, together=3).run((number, steps(number)) for number in range(5)))) == 5
    assert gauge.most["all"] == 6
    assert max(gauge.most[number] for number in range(5)) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_everything_is_begun_before_anything_is_continued(seconds: float) -> None:
    """Reports are asked for everywhere first: what waits, or only steps aside, holds no thread."""
    log: list[str] = []

    def steps(number: int) -> Steps[int]:
        log.append("begun")
        yield Pause(seconds)
        log.append("continued")
        return number

    list(crew(threads=1).run((number, steps(number)) for number in range(20)))
    assert log == ["begun"] * 20 + ["continued"] * 20


def test_a_call_that_fails_fails_in_the_steps_that_wanted_it() -> None:
    """They may take it as a value; what they let pass is the result; nobody else is touched."""

    def fail() -> None:
        raise ValueError("no")

    def taking() -> Steps[int]:
        try:
            yield Together((fail, lambda: None))
        except ValueError:
            yield Pause(0.0)
            return 1
        return 0

    def passing() -> Steps[int]:
        yield Together((fail,))
        return 2

    def other() -> Steps[int]:
        yield Pause(0.01)
        return 3

    results = dict(crew().run([(1, taking()), (2, passing()), (3, other())]))
    assert results[1] == 1
    assert isinstance(results[2], ValueError)
    assert results[3] == 3


@pytest.mark.parametrize("threads", [1, 4])
def test_stopping_finishes_the_calls_in_flight_and_begins_no_other(threads: int) -> None:
    """It ends soon, with the results that there are."""
    stop = threading.Event()
    begun: Counter[str] = Counter()

    def steps(number: int) -> Steps[int]:
        begun["begun"] += 1
        if number == 10:
            stop.set()
        if number < 0:
            yield Pause(0.0)
        time.sleep(0.01)
        return number

    results = list(crew(threads, stop=stop).run((number, steps(number)) for number in range(1_000)))
    assert len(results) == begun["begun"] < 1_000
