"""What was called how often, how much of it at the same time, and how fast. Accounts by number, 0 for nobody's."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from benchmarks.endpoint.settings import Fault, Rule, Settings

WINDOW = 1.0
"""Seconds in which the calls of a rate are counted."""


class Account:
    """One account's counts, its token bucket and the rules that concern it."""

    __slots__ = ("_recent", "_refilled_at", "_rules", "_tokens", "actions", "fastest", "in_flight", "most_in_flight")

    def __init__(self, number: int, settings: Settings, rules: tuple[Rule, ...]) -> None:
        """Nothing was called."""
        self.actions: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.fastest = 0
        """The most IAM calls within any one second."""
        self._recent: deque[float] = deque()
        self._tokens = _burst(settings)
        self._refilled_at = 0.0
        self._rules: list[tuple[Rule, list[int]]] = []
        self.apply(rules, number)

    def apply(self, rules: tuple[Rule, ...], number: int) -> None:
        """Has these rules from now on; those with a number of times begin anew."""
        self._rules = [(rule, [0]) for rule in rules if rule.concerns(number)]

    def ruling(self, action: str) -> tuple[Fault | None, float]:
        """The fault for this call, if there is one, and the seconds by which it is slow."""
        slow = 0.0
        for rule, used in self._rules:
            if rule.action not in {"*", action} or (rule.times is not None and used[0] >= rule.times):
                continue
            used[0] += 1
            if rule.fault is not Fault.SLOW:
                return rule.fault, slow
            slow += rule.seconds
        return None, slow

    def clock_in(self, now: float) -> None:
        """Counts a call for the rate; `now` in seconds of any clock that never goes back."""
        recent = self._recent
        recent.append(now)
        while recent[0] <= now - WINDOW:
            recent.popleft()
        self.fastest = max(self.fastest, len(recent))

    def has_token(self, now: float, settings: Settings) -> bool:
        """Takes a token out of the account's bucket, unless it is empty."""
        if settings.account_rate is None:
            return True
        refilled = self._tokens + (now - self._refilled_at) * settings.account_rate
        self._tokens, self._refilled_at = min(_burst(settings), refilled), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Tally:
    """All accounts' counts; an account is there once it was called."""

    def __init__(self, settings: Settings) -> None:
        """Nothing was called; the settings' rules hold."""
        self._settings = settings
        self.rules = settings.rules
        self.accounts: dict[int, Account] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.throttled: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def account(self, number: int) -> Account:
        """The counts of an account."""
        known = self.accounts.get(number)
        if known is None:
            known = self.accounts[number] = Account(number, self._settings, self.rules)
        return known

    def change_rules(self, rules: tuple[Rule, ...]) -> None:
        """These rules hold from now on, in place of all others."""
        self.rules = rules
        for number, account in self.accounts.items():
            account.apply(rules, number)

    def reset(self) -> None:
        """Nothing was called, rules begin anew, buckets are full; calls in flight remain in flight."""
        self.accounts = {}
        self.most_in_flight = self.in_flight
        self.throttled.clear()
        self.faults.clear()

    def begin(self, account: Account, action: str) -> None:
        """A call came in."""
        account.actions[action] += 1
        account.in_flight += 1
        account.most_in_flight = max(account.most_in_flight, account.in_flight)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self, account: Account) -> None:
        """The call was answered, or will never be."""
        account.in_flight -= 1
        self.in_flight -= 1

    def report(self, *, by_account: bool) -> dict[str, Any]:
        """All counts for JSON; `by_account` adds those of every account, under its number.

        A call is in flight from when it was read until it is answered: without latency that is no time at all, and
        the most in flight is one.
        """
        accounts = self.accounts.values()
        actions: Counter[str] = Counter()
        for account in accounts:
            actions.update(account.actions)
        found: dict[str, Any] = {
            "calls": actions.total(),
            "actions": actions,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "most_in_flight_in_an_account": max((account.most_in_flight for account in accounts), default=0),
            "most_in_a_second_in_an_account": max((account.fastest for account in accounts), default=0),
            "throttled": self.throttled,
            "faults": self.faults,
        }
        if by_account:
            found["accounts"] = {number: _said(account) for number, account in sorted(self.accounts.items())}
        return found


def _said(account: Account) -> Mapping[str, Any]:
    return {
        "actions": account.actions,
        "most_in_flight": account.most_in_flight,
        "most_in_a_second": account.fastest,
    }


def _burst(settings: Settings) -> float:
    burst = settings.account_rate if settings.account_burst is None else settings.account_burst
    return max(1.0, burst or 0.0)
