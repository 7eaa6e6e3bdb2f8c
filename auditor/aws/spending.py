"""What one account, or one service, may spend on calls, and what it spent. Safe to use from many threads."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from auditor.aws.timing import Timing
from auditor.model import Spent

RETRIES = 50
"""Retries that an account may use up before calls that are answered have earned it new ones."""


class Pace:
    """At most so many calls a second, evenly spread: a caller waits for its place in the row."""

    def __init__(self, per_second: float) -> None:
        """The first call waits for nothing."""
        self._gap = 1.0 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, timing: Timing) -> None:
        """Sleep until it is this call's turn."""
        with self._lock:
            now = timing.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            timing.sleep(turn - now)


@dataclass
class Ledger:
    """One account's calls by operation, throttles and retries, and the budget of retries that it has left.

    A retry costs one, an answered call earns one back, never above the start: an account that throttles every other
    call gets through, one that answers nothing is given up soon, whatever the number of calls still to come.
    """

    counts: Counter[str] = field(default_factory=Counter)
    throttles: int = 0
    retries: int = 0
    pace: Pace | None = None
    _budget: int = RETRIES
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, operation: str) -> None:
        """Count a request."""
        with self._lock:
            self.counts[operation] += 1

    def answered(self) -> None:
        """AWS answered."""
        with self._lock:
            self._budget = min(RETRIES, self._budget + 1)

    def throttled(self) -> None:
        """AWS refused for the rate of calls."""
        with self._lock:
            self.throttles += 1

    def may_retry(self) -> bool:
        """Take a retry out of the budget, if there is one left."""
        with self._lock:
            if self._budget <= 0:
                return False
            self._budget -= 1
            self.retries += 1
            return True

    def take_over(self, other: "Ledger") -> None:
        """Count what the other one has counted as this one's, so that it is counted once; the other begins anew."""
        counts, throttles, retries = other.drain()
        with self._lock:
            self.counts.update(counts)
            self.throttles += throttles
            self.retries += retries

    def drain(self) -> tuple[Mapping[str, int], int, int]:
        """Calls by operation, throttles and retries so far; they are counted from nothing again."""
        with self._lock:
            drained = self.counts, self.throttles, self.retries
            self.counts, self.throttles, self.retries = Counter(), 0, 0
            return drained

    def spent(self, seconds: float = 0.0) -> Spent:
        """All of it so far."""
        with self._lock:
            return Spent(dict(self.counts), self.throttles, self.retries, seconds)
