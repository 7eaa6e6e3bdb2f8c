"""How a run is stopped: what is in flight is finished, what waits is not sent, and who sleeps is woken."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from auditor.gather.settings import GatherSettings

SLICE = 0.5
"""Seconds after which a sleeping account looks whether the run is being stopped."""


class StopRequested(Exception):  # noqa: N818 - a request of the user's, not an error
    """The user asked to stop; raised between two calls, and by the sleep of a run that is being stopped."""


class Stop(Protocol):
    """Whether the run is being stopped."""

    def is_set(self) -> bool:
        """See `threading.Event`."""
        ...


def stoppable(settings: GatherSettings, stop: Stop) -> GatherSettings:
    """The settings with a sleep, and a leave to go on, that end the work on an account when the run is stopped."""
    ending = _Stoppable(settings.timing.sleep, stop)
    return replace(settings, timing=replace(settings.timing, sleep=ending.sleep, go_on=ending.go_on))


class _Stoppable:
    """The run's sleep, and its leave to go on; both raise StopRequested when the run is being stopped."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]], stop: Stop) -> None:
        self._sleep = sleep
        self._stop = stop

    async def sleep(self, seconds: float) -> None:
        while seconds > 0 and not self._stop.is_set():
            await self._sleep(min(seconds, SLICE))
            seconds -= SLICE
        self.go_on()

    def go_on(self) -> None:
        if self._stop.is_set():
            raise StopRequested
