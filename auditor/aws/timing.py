"""Time and chance as arguments: clocks, sleep and jitter are passed in, so that a test owns them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _go_on() -> None:
    """Nobody wants to stop."""


@dataclass(frozen=True)
class Timing:
    """Clock (UTC), monotonic seconds, sleep in seconds, and a uniform random number in [0, 1)."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[], float] = random.random
    go_on: Callable[[], None] = _go_on
    """Asked before every call; raises where the work is to end, such as after Ctrl-C."""

    def backoff(self, attempt: int, *, base: float, cap: float) -> float:
        """Seconds to wait after the n-th failure (from 0): exponential, capped, with full jitter."""
        return self.uniform() * min(cap, base * 2.0**attempt)

    def poll_delay(self, attempt: int, *, base: float, cap: float) -> float:
        """Seconds until the n-th look at something that takes its time: half of it fixed, half jitter."""
        longest = min(cap, base * 2.0**attempt)
        return longest / 2 + self.uniform() * longest / 2
