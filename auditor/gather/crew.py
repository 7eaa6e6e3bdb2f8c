"""Threads that carry out the steps of many accounts at once. What waits holds no thread."""

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from auditor.aws.steps import Pause, Steps
from auditor.gather.processes import Stop

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

WINDOW = 2_048
"""Pieces of work that are begun before the first of them has to be done: what bounds the memory."""

GLANCE = 0.5
"""Seconds after which somebody who waits looks round, so that Ctrl-C is heard."""


@dataclass
class _Work(Generic[K, T]):
    """One account's steps under way, and the calls that it wants done together."""

    key: K
    steps: Steps[T]
    calls: Iterator[tuple[int, Callable[[], Any]]] = field(default_factory=lambda: iter(()))
    results: list[Any] = field(default_factory=list)
    lanes: int = 0
    failure: BaseException | None = None


class Crew(Generic[K, T]):
    """A pool of threads, each doing one call at a time: their number is the cap on calls in flight.

    Work that is new comes before work that has paused, in the order given, so that what pauses after its first step
    is begun everywhere before it is continued anywhere.
    """

    def __init__(self, threads: int, *, together: int, on_pause: Callable[[K], None], stop: Stop) -> None:
        """Nothing runs yet.

        Args:
            threads: how many there are.
            together: calls of one piece of work that may be in flight at once.
            on_pause: told of each first pause of a piece of work, in any thread.
            stop: set to end everything: calls in flight are finished, everything else is left undone.
        """
        self._threads = threads
        self._together = together
        self._on_pause = on_pause
        self._stop = stop
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._done: queue.SimpleQueue[tuple[K, T | BaseException]] = queue.SimpleQueue()
        self._over = False
        self._watched = False
        """Whether one of the threads looks at the clock for all; to wake every one of them at each instant is dear."""

    def run(self, work: Iterable[tuple[K, Steps[T]]]) -> Iterator[tuple[K, T | BaseException]]:
        """Carry out all of it; each result, or the exception that ended it, as it comes.

        When stopped, it ends without the results of what is not done.
        """
        crew = [threading.Thread(target=self._toil, name=f"gather-{n}", daemon=True) for n in range(self._threads)]
        waiting = iter(work)
        under_way = 0
        for thread in crew:
            thread.start()
        try:
            for key, steps in itertools.islice(waiting, WINDOW):
                under_way += 1
                self._begin(key, steps)
            while under_way and not (self._stop.is_set() and self._idle(crew)):
                try:
                    key, result = self._done.get(timeout=GLANCE)
                except queue.Empty:
                    continue
                under_way -= 1
                for following, steps in itertools.islice(waiting, 1):
                    under_way += 1
                    self._begin(following, steps)
                yield key, result
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _idle(self, crew: Iterable[threading.Thread]) -> bool:
        return self._done.empty() and not any(thread.is_alive() for thread in crew)

    def _begin(self, key: K, steps: Steps[T]) -> None:
        work = _Work(key, steps)
        self._put(time.monotonic(), lambda: self._resume(work, None, first=True))

    def _put(self, due: float, task: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (due, next(self._order), task))
            self._changed.notify()

    def _toil(self) -> None:
        while (task := self._next()) is not None:
            task()

    def _next(self) -> Callable[[], None] | None:
        """The task that is due first, once it is due; None when there is nothing to do any more."""
        with self._changed:
            while not (self._over or self._stop.is_set()):
                wait = self._due[0][0] - time.monotonic() if self._due else GLANCE
                if wait <= 0:
                    task = heapq.heappop(self._due)[2]
                    if self._due and not self._watched:
                        self._changed.notify()
                    return task
                if self._watched:
                    self._changed.wait()
                else:
                    self._watched = True
                    self._changed.wait(min(wait, GLANCE))
                    self._watched = False
            self._changed.notify_all()
            return None

    def _resume(self, work: _Work[K, T], answer: Any, *, first: bool = False) -> None:
        failure, work.failure = work.failure, None
        try:
            wanted = work.steps.throw(failure) if failure else work.steps.send(answer)
        except StopIteration as done:
            self._done.put((work.key, done.value))
            return
        except BaseException as error:  # noqa: BLE001 - handed to whoever takes the results
            self._done.put((work.key, error))
            return
        if isinstance(wanted, Pause):
            if first:
                self._on_pause(work.key)
            self._put(time.monotonic() + wanted.seconds, lambda: self._resume(work, None))
            return
        work.calls, work.results = iter(enumerate(wanted.calls)), [None] * len(wanted.calls)
        work.lanes = max(1, min(self._together, len(wanted.calls)))
        for _ in range(work.lanes):
            self._put(time.monotonic(), lambda: self._call(work))

    def _call(self, work: _Work[K, T]) -> None:
        """Do the next of the calls that are wanted together, and come again; the last to find none goes on."""
        with self._changed:
            following = None if work.failure else next(work.calls, None)
            work.lanes -= following is None
            is_last = not work.lanes
        if following is not None:
            position, call = following
            try:
                work.results[position] = call()
            except BaseException as error:  # noqa: BLE001 - thrown into the steps that wanted the call
                work.failure = error
            self._put(time.monotonic(), lambda: self._call(work))
        elif is_last:
            self._resume(work, work.results)
