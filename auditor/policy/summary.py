"""Verdicts → the numbers of page one: keys by their worst outcome, the compliance rate and its bounds."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd

from auditor.model import Outcome, Summary
from auditor.tables import Snapshot

K = TypeVar("K", bound=Hashable)

WORST_FIRST = (Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT, Outcome.COMPLIANT, Outcome.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts that can be added up over batches of accounts: keys by worst outcome, verdicts, accounts, users."""

    keys: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By control and outcome."""
    audited: int = 0
    not_audited: int = 0
    unlisted_users: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            _sum(self.keys, other.keys),
            _sum(self.verdicts, other.verdicts),
            self.audited + other.audited,
            self.not_audited + other.not_audited,
            self.unlisted_users + other.unlisted_users,
        )

    def summary(self) -> Summary:
        """The numbers of page one, with the rate bracketed where something is not known.

        A key counts once, with its worst outcome over the controls that judge keys. The bounds take each key of
        unknown outcome as failing and as passing, and each account that was not audited as holding as many judged keys
        as the average audited one (at least one), all failing or all passing. A user whose keys could not be listed
        counts as one such key.
        """
        number = {outcome: self.keys.get(outcome.value, 0) for outcome in Outcome}
        good, bad, unknown = (number[o] for o in (Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.UNKNOWN))
        judged = good + bad
        missing = _missing_keys(judged + unknown, self.audited, self.not_audited) + self.unlisted_users
        population = judged + unknown + missing
        verdicts: dict[str, dict[str, int]] = {}
        for (control, outcome), count in sorted(self.verdicts.items()):
            verdicts.setdefault(control, {})[outcome] = count
        return Summary(
            compliant=good,
            non_compliant=bad,
            exempt=number[Outcome.EXEMPT],
            not_applicable=number[Outcome.NOT_APPLICABLE],
            unknown=unknown,
            compliance_rate=_rate(good, judged),
            rate_lower=_rate(good, population),
            rate_upper=_rate(good + unknown + missing, population),
            verdicts=verdicts,
        )


def tally(findings: pd.DataFrame, snapshot: Snapshot) -> Tally:
    """Count the verdicts on some accounts."""
    audited = snapshot.accounts["audited"].fillna(value=False).astype(bool)
    unlisted = snapshot.users["known_keys"].isna() | _has_unlisted(snapshot.users)
    verdicts = findings.groupby(["control", "outcome"], sort=True).size().reset_index(name="count")
    return Tally(
        keys={str(outcome): int(count) for outcome, count in key_outcomes(findings).value_counts().items()},
        verdicts={(control, outcome): int(count) for control, outcome, count in verdicts.itertuples(index=False)},
        audited=int(audited.sum()),
        not_audited=int((~audited).sum()),
        unlisted_users=int(unlisted.sum()),
    )


def summarise(findings: pd.DataFrame, snapshot: Snapshot) -> Summary:
    """The summary of all accounts at once; see `Tally.summary`."""
    return tally(findings, snapshot).summary()


def key_outcomes(findings: pd.DataFrame) -> "pd.Series[str]":
    """The worst outcome of each key, one row per key; verdicts on users and accounts are left out."""
    on_keys = findings[findings["key_status"].notna() & findings["key_status"].ne("Deleted")]
    rank = {outcome.value: position for position, outcome in enumerate(WORST_FIRST)}
    identity = ["account_id", "user_arn", "slot", "access_key_id", "created_at"]
    # Keys that cannot be told apart share everything; the n-th verdict of each control is the n-th such key's.
    twin = on_keys.groupby([*identity, "control"], dropna=False, sort=False).cumcount()
    ranked = on_keys.assign(rank=on_keys["outcome"].map(rank), twin=twin)
    worst = ranked.groupby([*identity, "twin"], dropna=False, sort=False)["rank"].min()
    return worst.map({position: outcome for outcome, position in rank.items()})


def _has_unlisted(users: pd.DataFrame) -> "pd.Series[bool]":
    """Users of whom the report says that there is more than it shows, and whose keys were not listed."""
    return users["additional_credentials"].notna() & users["listing"].ne("live")


def _missing_keys(judged: int, audited: int, not_audited: int) -> int:
    """How many keys the accounts that could not be audited are taken to hold."""
    average = judged / audited if audited else 0.0
    return max(math.ceil(average * not_audited), not_audited)


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _sum(left: Mapping[K, int], right: Mapping[K, int]) -> dict[K, int]:
    return dict(Counter(left) + Counter(right))
