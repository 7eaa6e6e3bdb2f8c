"""Durations against limits: the one place where an age or an idle time is compared, and where its limit is chosen."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from auditor.model import ControlId, Limit, LimitRule, Operator, Policy, Scope
from auditor.policy.criteria import Asked
from auditor.policy.scopes import Rank, Subjects, asks_no_less, atoms, rank
from auditor.report_columns import Flags, Instants

Positions = npt.NDArray[np.intp]


def instant(at: datetime) -> np.datetime64:
    """The instant in UTC, as columns of instants are compared with it."""
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def is_broken(limit: Limit, start: Instants, as_of: np.datetime64) -> Flags:
    """Where the time from `start` (a column of instants) to `as_of` breaks the limit.

    Compared as a duration in UTC, never as truncated days: 90 days and one second are more than 90 days. A missing
    start breaks nothing; what that means is for the caller to say.
    """
    elapsed, maximum = as_of - start, np.timedelta64(limit.maximum, "us")
    broken: Flags = elapsed > maximum if limit.operator is Operator.MORE_THAN else elapsed >= maximum
    return broken


def strictness(limit: Limit) -> tuple[timedelta, bool]:
    """The smaller, the stricter."""
    return limit.maximum, limit.operator is Operator.MORE_THAN


@dataclass(frozen=True, slots=True)
class Choice:
    """A limit that may hold, and the rule that says so; None for the control's own."""

    limit: Limit
    rule: LimitRule | None = None

    @property
    def words(self) -> str:
        """The limit as reasons tell it."""
        return str(self.limit) if self.rule is None else f'{self.limit} (rule "{self.rule.id}")'


@dataclass(frozen=True, slots=True)
class Limits:
    """Which limit holds for each row: one for all, or by rules.

    Where it is not known which of several holds, because a tag, a password or a unit that a rule asks for could not be
    read, `strict` is the strictest that may and `lax` the most generous. What passes the strictest passes, and what
    fails the most generous fails, whichever holds.
    """

    choices: tuple[Choice, ...]
    strict: Positions
    lax: Positions

    @classmethod
    def alone(cls, limit: Limit, rows: int) -> "Limits":
        """The same limit for all rows."""
        same = np.zeros(rows, np.intp)
        return cls((Choice(limit),), same, same)

    @property
    def is_one(self) -> bool:
        """Whether one limit holds for all."""
        return len(self.choices) == 1

    def judge(self, start: Instants, as_of: np.datetime64) -> "Elapsed":
        """Each row's time from `start`, against its limit."""
        if self.is_one:
            broken = is_broken(self.choices[0].limit, start, as_of)
            return Elapsed(broken, np.zeros(len(start), np.bool_), self._due(start, self.strict), self.strict)
        strictly, surely = self._broken(start, as_of, self.strict), self._broken(start, as_of, self.lax)
        told = np.where(surely, self.lax, self.strict)
        return Elapsed(strictly, strictly & ~surely, self._due(start, told), told)

    def _broken(self, start: Instants, as_of: np.datetime64, chosen: Positions) -> Flags:
        broken = np.zeros(len(start), np.bool_)
        for number, choice in enumerate(self.choices):
            rows = chosen == number
            broken[rows] = is_broken(choice.limit, start[rows], as_of)
        return broken

    def _due(self, start: Instants, chosen: Positions) -> Instants:
        maxima = np.array([choice.limit.maximum for choice in self.choices], "timedelta64[us]")
        due: Instants = np.add(start, maxima[0] if self.is_one else maxima[chosen])
        return due


@dataclass(frozen=True, slots=True)
class Elapsed:
    """A time against its limit: whether it breaks it, whether that is not sure, when it is due, by which choice."""

    broken: Flags
    unsure: Flags
    due: Instants
    choice: Positions


def ranked(rules: Iterable[LimitRule], control: ControlId, subjects: Subjects) -> list[tuple[Rank, LimitRule]]:
    """A control's rules by their parts, the most specific first, of equally specific ones the strictest."""
    places = tuple(subjects.places.values())
    parts = [
        (rank(atom, places), LimitRule(rule.id, rule.control, rule.limit, atom, rule.reason))
        for rule in rules
        if rule.control is control
        for atom in atoms(rule.scope)
    ]

    def order(part: tuple[Rank, LimitRule]) -> tuple[object, ...]:
        place, rule = part
        return tuple(-number for number in place), strictness(rule.limit), rule.id

    return sorted(parts, key=order)


def reach(rules: Iterable[LimitRule], control: ControlId, subjects: Subjects) -> dict[str, int]:
    """How many of the rows each of a control's rules is for, or may be for, by its id."""
    return {rule.id: int(subjects.matching(rule.scope)[1].sum()) for rule in rules if rule.control is control}


def limits_for(policy: Policy, asked: Asked, rows: int, subjects: Callable[[], Subjects]) -> Limits:
    """The limit that holds for each of so many rows: only the policy's own criteria know rules.

    What the rules ask of the rows is worked out where there are rules for the control, and only there.
    """
    limit = asked.criterion.limit
    assert limit is not None
    if not asked.by_policy or all(rule.control is not asked.control for rule in policy.limits):
        return Limits.alone(limit, rows)
    of_rows = subjects()
    return _by_rules(ranked(policy.limits, asked.control, of_rows), limit, of_rows)


def _by_rules(parts: Sequence[tuple[Rank, LimitRule]], limit: Limit, subjects: Subjects) -> Limits:
    rows = len(subjects.account)
    choices = [Choice(limit), *(Choice(rule.limit, rule) for _, rule in parts)]
    candidates = _candidates(parts, subjects)
    order = sorted(range(len(choices)), key=lambda number: (strictness(choices[number].limit), -number))
    place = np.empty(len(choices), np.intp)
    place[order] = np.arange(len(choices))
    strict, lax = np.full(rows, len(choices), np.intp), np.full(rows, -1, np.intp)
    for number, may_hold in enumerate(candidates):
        strict = np.where(may_hold, np.minimum(strict, place[number]), strict)
        lax = np.where(may_hold, np.maximum(lax, place[number]), lax)
    by_place = np.array(order, np.intp)
    return Limits(tuple(choices), by_place[strict], by_place[lax])


def _candidates(parts: Sequence[tuple[Rank, LimitRule]], subjects: Subjects) -> list[Flags]:
    """For each choice, the control's own first, the rows for which it may be the one that holds.

    A part that means a row only where an earlier one means it as well never holds there.
    """
    undecided = np.full(len(subjects.account), fill_value=True)
    found: list[Flags] = []
    earlier: list[tuple[Scope, Flags]] = []
    for _, rule in parts:
        surely, possibly = subjects.matching(rule.scope)
        may_hold = undecided & possibly
        for scope, possible in earlier:
            if asks_no_less(rule.scope, scope):
                may_hold &= ~possible
        found.append(may_hold)
        earlier.append((rule.scope, possibly))
        undecided &= ~surely
    return [undecided, *found]
