"""This process's event loop: all calls of AWS are made in its one thread, however many are under way.

Threads that each hold a call cost two to three times the CPU of the calls: they wake each other and wait for one
interpreter. Here what waits is a coroutine. Everything else stays as it is: `run` and `working` are the way in, from
any thread but the loop's own.
"""

import asyncio
import atexit
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")

LEAVE_SECONDS = 2.0
"""How long the end of the process waits for connections to close."""


class _Loop:
    """The loop, its thread, and the connections that all calls share."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.session: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self.loop.run_forever, name="aws", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def _end(self) -> None:
        with suppress(TimeoutError):  # somebody holds the loop, such as a prompt for a second factor
            self.run(self._leave(), LEAVE_SECONDS)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _leave(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self.session:
            await self.session.close()


_lock = threading.Lock()
_current: list[_Loop] = []


def _this_process() -> _Loop:
    with _lock:
        if not _current:
            _current.append(_Loop())
        return _current[0]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry out the work in the loop and give its result; when this is interrupted, so is the work."""
    return _this_process().run(work)


@contextmanager
def working(work: Coroutine[Any, Any, T]) -> Iterator["asyncio.Task[T]"]:
    """Work that is under way inside the block, and over when the block is left, done or not."""

    async def begin() -> "asyncio.Task[T]":
        return asyncio.get_running_loop().create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()

    task = run(begin())
    try:
        yield task
    finally:
        run(end())


def told_by(work: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]]) -> Iterator[T]:
    """Carry out the work in the loop; what it tells the function that it is given, here and as it comes."""
    news: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()

    async def telling() -> None:
        try:
            await work(lambda told: news.put((told,)))
        finally:
            news.put(None)

    async def ended() -> None:
        await task

    with working(telling()) as task:
        while item := news.get():
            yield item[0]
        run(ended())


async def connections() -> aiohttp.ClientSession:
    """The connections of this process; who uses them bounds their number. To be asked inside the loop."""
    current = _this_process()
    if current.session is None:
        current.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
    return current.session


async def in_lanes(calls: Sequence[Callable[[], Awaitable[T]]], lanes: int) -> list[T]:
    """The results of all calls in their order, so many of them at once; the first that fails ends them all."""
    waiting = iter(enumerate(calls))
    results: dict[int, T] = {}

    async def lane() -> None:
        for position, call in waiting:
            results[position] = await call()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(lanes, len(calls))):
                group.create_task(lane())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [results[position] for position in range(len(calls))]
