"""Verdicts → the numbers of page one: keys by their worst outcome, the compliance rate and its bounds."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import ControlId, KeyStatus, Outcome, Summary
from auditor.tables import Snapshot

WORST_FIRST = (Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT, Outcome.COMPLIANT, Outcome.NOT_APPLICABLE)

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of accounts; the tallies of batches of accounts add up to the tally of all."""

    keys: Mapping[str, int] = field(default_factory=dict)
    """By worst outcome over the controls that judge keys."""
    verdicts: Counts = field(default_factory=dict)
    """By control id, then by outcome."""
    audited: int = 0
    not_audited: int = 0
    """Accounts."""
    unlisted: int = 0
    """Users whose keys are not all known."""

    def __add__(self, other: "Tally") -> "Tally":
        """The tally of the accounts of both."""
        controls = sorted({*self.verdicts, *other.verdicts})
        return Tally(
            keys=_sum(self.keys, other.keys),
            verdicts={name: _sum(self.verdicts.get(name, {}), other.verdicts.get(name, {})) for name in controls},
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


def tally(findings: pd.DataFrame, snapshot: Snapshot) -> Tally:
    """Count what `evaluate` found, in its order, and what the snapshot lacks."""
    audited = snapshot.accounts["audited"].fillna(value=False).astype(bool)
    users = snapshot.users
    more_than_shown = users["additional_credentials"].notna() & users["listing"].ne("live")
    control, outcome, status = (_Coded.of(findings[name]) for name in ("control", "outcome", "key_status"))
    return Tally(
        keys=_worst_outcomes(control, outcome, ~status.are(KeyStatus.DELETED) & (status.codes >= 0)),
        verdicts=_counts(control, outcome),
        audited=int(audited.sum()),
        not_audited=int((~audited).sum()),
        unlisted=int((users["known_keys"].isna() | more_than_shown).sum()),
    )


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

    def are(self, text: str) -> npt.NDArray[np.bool_]:
        """Which rows hold this text."""
        return np.equal(self.codes, self.texts.index(text) if text in self.texts else len(self.texts))


def _worst_outcomes(control: _Coded, outcome: _Coded, on_keys: npt.NDArray[np.bool_]) -> Mapping[str, int]:
    """Keys by their worst outcome; verdicts on users and accounts are left out, and keys that are gone.

    Age and use are judged of every key, and their verdicts come in the same order of keys, also of keys that cannot be
    told apart. Root keys have the verdict of their own control, and neither age nor use applies to them.
    """
    names = [worst.value for worst in WORST_FIRST]
    ranks = np.array([names.index(name) for name in outcome.texts], np.intp)
    age, unused, root = (
        ranks[outcome.codes[control.are(name) & on_keys]]
        for name in (ControlId.KEY_AGE, ControlId.KEY_UNUSED, ControlId.ROOT_ACCESS_KEY)
    )
    numbers = np.bincount(np.minimum(age, unused), minlength=len(names)) + np.bincount(root, minlength=len(names))
    numbers[names.index(Outcome.NOT_APPLICABLE.value)] -= len(root)
    return {name: number for name, number in zip(names, numbers.tolist(), strict=True) if number}


def _counts(of: _Coded, outcome: _Coded) -> Counts:
    """How many rows have which outcome, by the values of another column."""
    shape = (len(of.texts), len(outcome.texts))
    numbers = np.bincount(of.codes * shape[1] + outcome.codes, minlength=shape[0] * shape[1]).reshape(shape)
    return {
        value: {name: number for name, number in zip(outcome.texts, row, strict=True) if number}
        for value, row in zip(of.texts, numbers.tolist(), strict=True)
    }


def _sum(mine: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    return dict(sorted((Counter(mine) + Counter(theirs)).items()))


def _missing_keys(judged: int, audited: int, not_audited: int) -> int:
    """How many keys the accounts that could not be audited are taken to hold."""
    average = judged / audited if audited else 0.0
    return max(math.ceil(average * not_audited), not_audited)


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
