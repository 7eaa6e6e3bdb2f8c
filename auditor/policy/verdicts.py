"""Verdicts on cases. A case stands for all keys or users of whom the same is known, so it is judged and worded once.

A verdict that would be non-compliant but rests on something that could not be confirmed is `unknown`; a compliant one
needs no confirmation, because nothing that may have happened since can make a key older or its last use earlier.

Each rule takes the cases as columns, in which a missing text is None, a missing number -1 and a missing flag false.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import Outcome
from auditor.report_columns import Flags, Texts

Cases = Mapping[str, npt.NDArray[Any]]

UNKNOWN_NUMBER = -1


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Outcome and reason of each case. What is said later of a case counts."""

    outcome: Texts
    reason: Texts

    @classmethod
    def on(cls, cases: Cases) -> "Verdicts":
        """Nothing said yet."""
        number = len(next(iter(cases.values())))
        return cls(np.full(number, None), np.full(number, None))

    def say(self, where: Flags, outcome: Outcome, reason: str | Texts) -> None:
        """Give these cases an outcome and a reason."""
        self.outcome[where] = outcome.value
        self.reason[where] = reason if isinstance(reason, str) else reason[where]

    def are(self, outcome: Outcome) -> Flags:
        """Which cases have this outcome."""
        return np.equal(self.outcome, outcome.value)

    def doubt(self, where: Flags, why: str | Texts) -> Flags:
        """Of these cases, what would fail is not sure, and the reason says why; which cases that is true of."""
        failing = where & self.are(Outcome.NON_COMPLIANT)
        self.say(failing, Outcome.UNKNOWN, "Not confirmed: " + why + ". As far as is known: " + self.reason)
        return failing


def counted(number: npt.NDArray[np.int64], noun: str) -> Texts:
    """Counts with their noun: "1 day", "3 days"."""
    texts: Texts = np.add(number.astype(str).astype(object), f" {noun}s")
    texts[number == 1] = f"1 {noun}"
    return texts


def dates(days: npt.NDArray[np.int64]) -> Texts:
    """Days since 1970 as dates."""
    return np.datetime_as_string(days.astype("datetime64[D]")).astype(object)


def known(texts: Texts, otherwise: str) -> Texts:
    """The texts, and another one where there is none."""
    return np.where(pd.isna(texts), otherwise, texts)
