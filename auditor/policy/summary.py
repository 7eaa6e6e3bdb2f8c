"""Verdicts → the numbers of page one: keys by their worst outcome, the compliance rate and its bounds."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import ControlId, KeyStatus, Outcome, Policy, Summary
from auditor.policy.criteria import clause_key, criteria
from auditor.policy.exemptions import matches
from auditor.policy.limits import reach
from auditor.policy.scopes import of_table, places_of
from auditor.tables import Snapshot, plain_texts

WORST_FIRST = (Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT, Outcome.COMPLIANT, Outcome.NOT_APPLICABLE)

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of accounts; the tallies of batches of accounts add up to the tally of all."""

    keys: Mapping[str, int] = field(default_factory=dict)
    """By worst outcome over the controls that judge keys."""
    verdicts: Counts = field(default_factory=dict)
    """Of the policy's own, by control id, then by outcome."""
    clauses: Counts = field(default_factory=dict)
    """Of the frameworks, by clause and control (as "cis-aws-5.0 1.13 key-age"), then by outcome."""
    exemptions: Mapping[str, int] = field(default_factory=dict)
    """Violations that each exemption matched, by its id."""
    failing: Mapping[str, int] = field(default_factory=dict)
    """Of them those that no exemption excuses."""
    undecided: Mapping[str, int] = field(default_factory=dict)
    """Verdicts of which it cannot be told whether the exemption is for them."""
    excused: int = 0
    """Violations that are exempt."""
    rules: Mapping[str, int] = field(default_factory=dict)
    """Keys, users or credentials that each limit rule is for, or may be for, by its id."""
    audited: int = 0
    not_audited: int = 0
    """Accounts."""
    unlisted: int = 0
    """Users whose keys are not all known."""

    def __add__(self, other: "Tally") -> "Tally":
        """The tally of the accounts of both."""
        return Tally(
            keys=_sum(self.keys, other.keys),
            verdicts=_sums(self.verdicts, other.verdicts),
            clauses=_sums(self.clauses, other.clauses),
            exemptions=_added(self.exemptions, other.exemptions),
            failing=_added(self.failing, other.failing),
            undecided=_added(self.undecided, other.undecided),
            excused=self.excused + other.excused,
            rules=_added(self.rules, other.rules),
            audited=self.audited + other.audited,
            not_audited=self.not_audited + other.not_audited,
            unlisted=self.unlisted + other.unlisted,
        )

    def summary(self) -> Summary:
        """The compliance rate, bracketed where something is not known.

        The bounds take each key of unknown outcome as failing and as passing, and each account that was not audited
        as holding as many judged keys as the average audited one (at least one), all failing or all passing. A user
        whose keys could not be listed counts as one such key.
        """
        number = {outcome: self.keys.get(outcome.value, 0) for outcome in Outcome}
        good, bad, unknown = (number[o] for o in (Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.UNKNOWN))
        judged = good + bad
        missing = _missing_keys(judged + unknown, self.audited, self.not_audited) + self.unlisted
        population = judged + unknown + missing
        return Summary(
            compliant=good,
            non_compliant=bad,
            exempt=number[Outcome.EXEMPT],
            not_applicable=number[Outcome.NOT_APPLICABLE],
            unknown=unknown,
            compliance_rate=_rate(good, judged),
            rate_lower=_rate(good, population),
            rate_upper=_rate(good + unknown + missing, population),
            verdicts=self.verdicts,
        )


def tally(findings: pd.DataFrame, snapshot: Snapshot, policy: Policy) -> Tally:
    """Count what `evaluate` found under this policy, in its order, and what the snapshot lacks."""
    audited = snapshot.accounts["audited"].fillna(value=False).astype(bool)
    users = snapshot.users
    more_than_shown = users["additional_credentials"].notna() & users["listing"].ne("live")
    by_policy = findings["by_policy"].to_numpy(bool)
    own = findings if by_policy.all() else findings[by_policy]
    control, outcome = _Coded.of(own["control"]), _Coded.of(own["outcome"])
    exempt = matches(findings, snapshot, policy)
    return Tally(
        keys=_worst_outcomes(own, control, outcome),
        verdicts=_counts(control, outcome),
        clauses=_clauses(findings, policy) if policy.frameworks else {},
        exemptions=exempt.sure,
        failing=exempt.failing,
        undecided=exempt.undecided,
        excused=exempt.excused,
        rules=_reach(snapshot, policy),
        audited=int(audited.sum()),
        not_audited=int((~audited).sum()),
        unlisted=int((users["known_keys"].isna() | more_than_shown).sum()),
    )


def _reach(snapshot: Snapshot, policy: Policy) -> Mapping[str, int]:
    """How many keys, users or credentials each limit rule is for: one that is for none may be a slip of the pen."""
    if not policy.limits:
        return {}
    subjects_of = {
        ControlId.SERVICE_CREDENTIAL_AGE: snapshot.credentials,
        ControlId.CONSOLE_PASSWORD_UNUSED: snapshot.users,
    }
    found: dict[str, int] = {}
    for control in {rule.control: None for rule in policy.limits}:
        frame = subjects_of.get(control, snapshot.keys)
        found |= reach(policy.limits, control, of_table(frame, snapshot.users, places_of(snapshot.accounts)))
    return found


@dataclass(frozen=True, slots=True)
class _Coded:
    """A column of texts, of which there are few: the place of each in `texts`, -1 for a missing one."""

    codes: npt.NDArray[np.intp]
    texts: Sequence[str]

    @classmethod
    def of(cls, column: "pd.Series[str]") -> "_Coded":
        """The column's texts, in their order."""
        codes, texts = pd.factorize(column.to_numpy(object), sort=True)
        return cls(codes, [str(text) for text in texts])

    def take(self, rows: npt.NDArray[np.bool_]) -> "_Coded":
        """Some rows of it."""
        return _Coded(self.codes[rows], self.texts)

    def are(self, text: str) -> npt.NDArray[np.bool_]:
        """Which rows hold this text."""
        return np.equal(self.codes, self.texts.index(text) if text in self.texts else len(self.texts))


ON_EVERY_KEY = (ControlId.KEY_AGE, ControlId.KEY_UNUSED)
ON_SOME_KEYS = (ControlId.KEY_AT_USER_CREATION, ControlId.INACTIVE_KEY_RETAINED, ControlId.QUARANTINED_KEY)


def _worst_outcomes(findings: pd.DataFrame, control: _Coded, outcome: _Coded) -> Mapping[str, int]:
    """Keys by their worst outcome; verdicts on users and accounts are left out, and keys that are gone.

    Age and use are judged of every key, and their verdicts come in the same order of keys, also of keys that cannot be
    told apart. Root keys have the verdict of their own control, and neither age nor use applies to them. What passes a
    control that is judged of some keys alone is not made compliant by it: the rate is that of keys in use.
    """
    status = _Coded.of(findings["key_status"])
    on_keys = ~status.are(KeyStatus.DELETED) & (status.codes >= 0)
    names = [worst.value for worst in WORST_FIRST]
    ranks = np.array([names.index(name) for name in outcome.texts], np.intp)

    def ranked(name: ControlId) -> npt.NDArray[np.intp]:
        found: npt.NDArray[np.intp] = ranks[outcome.codes[control.are(name) & on_keys]]
        return found

    age, unused = (np.flatnonzero(control.are(name) & on_keys) for name in ON_EVERY_KEY)
    worst = np.minimum(ranks[outcome.codes[age]], ranks[outcome.codes[unused]])
    worse = np.zeros(len(findings), np.bool_)
    for name in ON_SOME_KEYS:
        worse |= control.are(name) & on_keys
    worse &= ~outcome.are(Outcome.COMPLIANT) & ~outcome.are(Outcome.NOT_APPLICABLE)
    for rows, rank in _of_keys(findings, np.flatnonzero(worse), age, ranks[outcome.codes]):
        worst[rows] = min(worst[rows], rank)
    root = ranked(ControlId.ROOT_ACCESS_KEY)
    numbers = np.bincount(worst, minlength=len(names)) + np.bincount(root, minlength=len(names))
    numbers[names.index(Outcome.NOT_APPLICABLE.value)] -= len(root)
    return {name: number for name, number in zip(names, numbers.tolist(), strict=True) if number}


def _of_keys(
    findings: pd.DataFrame,
    verdicts: npt.NDArray[np.intp],
    age: npt.NDArray[np.intp],
    ranks: npt.NDArray[np.intp],
) -> Iterator[tuple[int, int]]:
    """For each of some verdicts, few as they are, the place of its key among the verdicts on age, and its rank."""
    if not len(verdicts):
        return
    holders = set(plain_texts(findings["user_arn"].take(verdicts)))
    among = np.flatnonzero(findings["user_arn"].take(age).isin(holders))

    def marks(rows: npt.NDArray[np.intp]) -> list[tuple[Any, ...]]:
        columns = ("user_arn", "slot", "access_key_id", "created_at", "key_status")
        plain = (findings[name].take(rows).astype(object) for name in columns)
        return [tuple(None if pd.isna(part) else part for part in mark) for mark in zip(*plain, strict=True)]

    places: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for mark, place in zip(marks(age[among]), among.tolist(), strict=True):
        places[mark].append(place)
    seen = Counter[tuple[Any, ...]]()
    controls = plain_texts(findings["control"].take(verdicts)).tolist()
    for control, mark, row in zip(controls, marks(verdicts), verdicts.tolist(), strict=True):
        yield places[mark][seen[control, mark]], int(ranks[row])
        seen[control, mark] += 1  # keys of whom the same is known are told apart by their number


def _clauses(findings: pd.DataFrame, policy: Policy) -> Counts:
    """Verdicts by clause and control, as `clause_key` names them: one row speaks for all the clauses that it names."""
    of, control, outcome = (_Coded.of(findings[name]) for name in ("frameworks", "control", "outcome"))
    labels = {clause_key(label, asked.control) for asked in criteria(policy) for label in asked.clauses}
    found: dict[str, Mapping[str, int]] = {name: {} for name in sorted(labels)}
    for number, name in enumerate(control.texts):
        rows = control.codes == number
        together = _counts(of.take(rows), outcome.take(rows))
        for labelled, counts in together.items():
            for label in labelled.splitlines() if counts else ():
                key = clause_key(label, ControlId(name))
                found[key] = _sum(found[key], counts)
    return found


def _counts(of: _Coded, outcome: _Coded) -> Counts:
    """How many rows have which outcome, by the values of another column; rows without a value are left out."""
    shape = (len(of.texts) + 1, len(outcome.texts))
    numbers = np.bincount((of.codes + 1) * shape[1] + outcome.codes, minlength=shape[0] * shape[1]).reshape(shape)[1:]
    return {
        value: {name: number for name, number in zip(outcome.texts, row, strict=True) if number}
        for value, row in zip(of.texts, numbers.tolist(), strict=True)
    }


def _sum(mine: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    return dict(sorted((Counter(mine) + Counter(theirs)).items()))


def _added(mine: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    """As `_sum`, with what is 0 in both."""
    return {name: mine.get(name, 0) + theirs.get(name, 0) for name in sorted({*mine, *theirs})}


def _sums(mine: Counts, theirs: Counts) -> Counts:
    return {name: _sum(mine.get(name, {}), theirs.get(name, {})) for name in sorted({*mine, *theirs})}


def _missing_keys(judged: int, audited: int, not_audited: int) -> int:
    """How many keys the accounts that could not be audited are taken to hold."""
    average = judged / audited if audited else 0.0
    return max(math.ceil(average * not_audited), not_audited)


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
