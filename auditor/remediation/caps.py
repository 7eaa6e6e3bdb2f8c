"""How many keys may be under way: those of a plan with those that earlier plans left open. Pure.

Planning and the taking of a plan go by the same count, so that ten small plans are no more than a large one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from auditor.remediation.plan import Item, Limits
from auditor.remediation.tracked import Tracked


@dataclass(frozen=True, slots=True)
class Measures:
    """What the count is held against."""

    limits: Limits
    ramp: int
    """How many keys there may be by what was done well before."""
    active_keys: int | None
    """Among which the keys were chosen, for the cap in percent; None where a person asked for one key."""
    in_use: Mapping[str, int]
    """How many active keys of an account are in use."""
    is_used: Callable[[Item], bool]
    """Whether an item's key is one of these."""


@dataclass
class Count:
    """Keys that are under way, and those of a plan that come to them one by one; own keys bound nobody."""

    measures: Measures
    _there: Counter[str] = field(default_factory=Counter, init=False)
    """By account, all that are under way."""
    _here: Counter[str] = field(default_factory=Counter, init=False)
    """By account, those of the plan."""
    _used: Counter[str] = field(default_factory=Counter, init=False)
    _routine: int = field(default=0, init=False)
    """How many are not exposed."""
    _users: set[tuple[str, str]] = field(default_factory=set, init=False)
    """Of the plan."""
    _busy: set[tuple[str, str]] = field(default_factory=set, init=False)

    def open(self, found: Iterable[Tracked], now: datetime) -> None:
        """These are under way already, but for those that nobody approved in time."""
        for tracked in found:
            if tracked.approved or now < tracked.expires_at:
                self._take(tracked.item, is_on=tracked.done.inactive_at is None)
                self._busy.add((tracked.item.account_id, tracked.item.user))

    def refusal(self, item: Item) -> str | None:
        """Why there is no room for an item of the plan; None where there is, and it is counted in."""
        why = next(self._refusals(item), None)
        if why is None:
            self._take(item)
            self._here[item.account_id] += 1
            self._users.add((item.account_id, item.user))
        return why

    def _refusals(self, item: Item) -> Iterator[str]:
        """An exposed key is not kept waiting by what is under way already: those of its own plan bound it.

        Nor does a person who asks for one key wait until a backlog was begun with few.
        """
        measures, limits, account = self.measures, self.measures.limits, item.account_id
        if (account, item.user) in self._users and not item.urgent:  # AWS does not say which one leaked
            yield "one key of a user at a time"
        if (account, item.user) in self._busy and not item.urgent:
            yield "a key of the user is under way in another plan"
        most = limits.max_items
        if measures.active_keys is not None:
            most = min(most, max(1, measures.active_keys * limits.max_percent // 100))
        elif self._users:
            yield "the plan does not say among how many keys it chose, so it may have one"
        counts = [self._here] if item.urgent or item.own else [self._here, self._there]
        for count in counts:
            if count.total() >= most or count[account] >= limits.max_per_account:
                told = f"{count.total()} keys are there already, {count[account]} of them in {account}"
                yield f"{told}: as many as the caps allow"
        if item.urgent or item.own or measures.active_keys is None:
            return
        if self._routine >= measures.ramp:
            yield f"{self._routine} keys are there already, and a backlog is begun with few: {measures.ramp} by now"
        if measures.is_used(item) and self._used[account] >= max(1, measures.in_use.get(account, 0) - 1):
            yield f"of the keys that {account} uses one is left alone"

    def _take(self, item: Item, *, is_on: bool = True) -> None:
        if not item.own:
            self._there[item.account_id] += 1
            self._used[item.account_id] += is_on and self.measures.is_used(item)
            self._routine += not item.urgent
