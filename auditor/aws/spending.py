"""What one account, or one service, may spend on calls, and what it spent. Used inside the loop only."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from auditor.aws.timing import Timing
from auditor.model import Request, Spent

RETRIES = 50
"""Retries that an account may use up before calls that are answered have earned it new ones."""

SLACK = 1.05
"""How much further apart calls are than the rate asks for: what is delayed on its way comes closer to what follows."""

FIRST, LATER = 0, 1
"""How urgent calls are: reports are asked for everywhere first, because AWS takes its time to make them."""


class Pace:
    """At most so many calls in any second, evenly spread: a caller waits for its place in the row."""

    def __init__(self, per_second: float) -> None:
        """The first call waits for nothing."""
        self._gap = SLACK / per_second
        self._next = 0.0

    async def wait(self, timing: Timing) -> None:
        """Sleep until it is this call's turn."""
        now = timing.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._gap
        if turn > now:
            await timing.sleep(turn - now)


class Gate:
    """At most so many calls in flight; of those that wait, the more urgent goes first, and else who came first."""

    def __init__(self, places: int) -> None:
        """All places are free."""
        self._free = places
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def enter(self, urgency: int) -> None:
        """Wait for a place, and take it."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), place))
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given just now
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place back, or on."""
        while self._waiting:
            *_, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


@dataclass
class Ledger:
    """One account's calls, throttles and retries, and the budget of retries that it has left.

    A retry costs one, an answered call earns one back, never above the start: an account that throttles every other
    call gets through, one that answers nothing is given up soon, whatever the number of calls still to come.
    """

    counts: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    """Every request, in the order of sending: as many of an operation as are counted, and those that were not sent."""
    throttles: int = 0
    retries: int = 0
    pace: Pace | None = None
    gate: Gate | None = None
    lanes: int = 1
    """Calls of the account that may be in flight at once."""
    urgency: int = FIRST
    keeps_answers: bool = False
    """Whether what AWS answers to a look-up is kept beside its request."""
    _budget: int = RETRIES

    def sends(self, operation: str, at: datetime, params: Mapping[str, Any] | None = None, attempt: int = 1) -> Request:
        """A request is sent now; whoever has its answer tells it what came of it.

        Args:
            operation: such as "iam:ListUsers".
            at: the instant.
            params: what is asked, where the answer is kept.
            attempt: how often it was tried by now.
        """
        request = Request(at, operation, params=params, attempt=attempt)
        self.counts[operation] += 1
        self.requests.append(request)
        return request

    def lacks(self, request: Request) -> None:
        """A request cannot be sent, and is not counted."""
        self.requests.append(request)

    def answered(self) -> None:
        """AWS answered."""
        self._budget = min(RETRIES, self._budget + 1)

    def may_retry(self) -> bool:
        """Take a retry out of the budget, if there is one left."""
        if self._budget <= 0:
            return False
        self._budget -= 1
        self.retries += 1
        return True

    def take_over(self, other: "Ledger") -> None:
        """Count what the other one has counted as this one's, so that it is counted once; the other begins anew."""
        self.counts.update(other.counts)
        # both stay in their own order, also where a clock was set back
        self.requests = list(heapq.merge(other.requests, self.requests, key=attrgetter("at")))
        self.throttles += other.throttles
        self.retries += other.retries
        other.counts, other.requests, other.throttles, other.retries = Counter(), [], 0, 0

    def spent(self, seconds: float = 0.0) -> Spent:
        """All of it so far."""
        return Spent(dict(self.counts), self.throttles, self.retries, seconds)
