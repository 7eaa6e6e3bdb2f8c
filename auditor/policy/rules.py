"""What each control says of a case, and why, in words. A case stands for all keys or users of whom the same is known.

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

from auditor.model import ControlId, KeyStatus, Outcome, Policy
from auditor.report_columns import SLOTS, Flags, Texts

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


def key_age(cases: Cases, policy: Policy) -> Verdicts:
    """By `days`, `due` (a date), `broken`, `missing` and what `_settle` needs."""
    verdict = Verdicts.on(cases)
    age, due, old = _count(cases["days"], "day"), _date(cases["due"]), cases["broken"]
    verdict.say(~old, Outcome.COMPLIANT, age + " old; due on " + due + ".")
    verdict.say(old, Outcome.NON_COMPLIANT, age + f" old: {policy.key_age} fails; it was due on " + due + ".")
    verdict.say(cases["missing"], Outcome.UNKNOWN, "The creation date is not known, so neither is the age.")
    return _settle(verdict, cases)


def key_unused(cases: Cases, policy: Policy) -> Verdicts:
    """Idle time from the last use, or from creation where there is none on record (CIS 1.12, audit text).

    By `days`, `due`, `broken` and `missing` of that start, `used`, `young`, `last_used_state`, `last_used_problem`
    and what `_settle` needs.
    """
    verdict = Verdicts.on(cases)
    ago, due, idle, young = _count(cases["days"], "day"), _date(cases["due"]), cases["broken"], cases["young"]
    activity = np.where(cases["used"], "Last used " + ago + " ago", "Created " + ago + " ago, no use on record")
    fails = f": not used for {policy.key_unused} fails; it was due on "
    verdict.say(~idle, Outcome.COMPLIANT, activity + "; due on " + due + ".")
    verdict.say(idle, Outcome.NON_COMPLIANT, activity + fails + due + ".")
    verdict.say(young, Outcome.COMPLIANT, activity + ": too young to be judged unused.")
    unsure = idle & ~young & np.equal(cases["last_used_state"], "unknown")
    why = _known(cases["last_used_problem"], "no reason given")
    verdict.say(unsure, Outcome.UNKNOWN, "Last use is not known: " + why + ". Otherwise: " + activity + ".")
    verdict.say(cases["missing"], Outcome.UNKNOWN, "Neither creation nor last use is known.")
    return _settle(verdict, cases)


def _settle(verdict: Verdicts, cases: Cases) -> Verdicts:
    """What holds for every control on a user's key: who is out of scope, and what could not be confirmed.

    By `identity`, `identity_problem`, `key_status`, `future` and `is_root`.
    """
    unconfirmed = np.equal(cases["identity"], "unknown") & verdict.are(Outcome.NON_COMPLIANT)
    problem = _known(cases["identity_problem"], "no reason given")
    doubt = "Not confirmed: " + problem + ". As far as is known: " + verdict.reason
    verdict.say(unconfirmed, Outcome.UNKNOWN, doubt)
    inactive = np.equal(cases["key_status"], KeyStatus.INACTIVE.value) & ~unconfirmed
    deleted = np.equal(cases["key_status"], KeyStatus.DELETED.value)
    verdict.say(inactive, Outcome.NOT_APPLICABLE, "The key is inactive.")
    verdict.say(deleted, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    verdict.say(cases["future"], Outcome.NOT_APPLICABLE, "The key was created after the instant of judgement.")
    verdict.say(cases["is_root"], Outcome.NOT_APPLICABLE, f"Root keys are judged by {ControlId.ROOT_ACCESS_KEY}.")
    return verdict


def root_keys(cases: Cases, policy: Policy) -> Verdicts:
    """Of each root key, by `key_status`; both readings of the standards, active and present, are told."""
    verdict = Verdicts.on(cases)
    active = np.equal(cases["key_status"], KeyStatus.ACTIVE.value)
    present = Outcome.NON_COMPLIANT if policy.inactive_root_key_fails else Outcome.COMPLIANT
    verdict.say(active, Outcome.NON_COMPLIANT, "The root user has an active access key.")
    verdict.say(~active, present, "The root user has an inactive access key: present, not active. Delete it.")
    return verdict


def accounts_without_root_key(cases: Cases) -> Verdicts:
    """Of accounts that have no root key to judge, by `root_keys_present`: none there, or none to be seen."""
    verdict = Verdicts.on(cases)
    present = cases["root_keys_present"]
    seen = present > 0
    verdict.say(~seen, Outcome.COMPLIANT, "The root user has no access key.")
    verdict.say(seen, Outcome.NON_COMPLIANT, "The account summary says that a root access key is present.")
    verdict.say(
        present == UNKNOWN_NUMBER, Outcome.UNKNOWN, "Neither the credential report nor the account summary tells."
    )
    return verdict


def one_active_key(users: Cases, policy: Policy) -> Verdicts:
    """Of users, by `active_keys`, `known_keys`, `listing`, `listing_failed` and `additional_credentials`."""
    verdict = Verdicts.on(users)
    active = users["active_keys"]
    count = _count(active, "active access key")
    too_many = active > policy.max_active_keys
    verdict.say(~too_many, Outcome.COMPLIANT, count + ".")
    verdict.say(too_many, Outcome.NON_COMPLIANT, count + f": more than {policy.max_active_keys}.")
    doubt = "Not confirmed: the live look-up failed (" + _known(users["listing_failed"], "") + "). The report says "
    verdict.say(too_many & np.equal(users["listing"], "failed"), Outcome.UNKNOWN, doubt + count + ".")
    return _without_keys(verdict, users)


def extra_keys(users: Cases) -> Verdicts:
    """Of users, by the same and `additional_column`.

    More than two keys: counted by the listing, or told by the report's optional last column.
    """
    verdict = Verdicts.on(users)
    known = users["known_keys"]
    count = _count(known, "access key")
    listed = np.equal(users["listing"], "live")
    extra = known > SLOTS
    full = (known == SLOTS) & ~listed
    silent = ~users["additional_column"]
    hint = users["additional_credentials"]
    verdict.say(~extra, Outcome.COMPLIANT, count + ".")
    verdict.say(extra, Outcome.NON_COMPLIANT, count + ": more than two.")
    cannot_tell = "Both slots are taken, and this credential report does not say whether there are more keys."
    verdict.say(full & silent, Outcome.NOT_APPLICABLE, cannot_tell)
    verdict.say(full & np.equal(users["listing"], "failed"), Outcome.UNKNOWN, _unlisted(users))
    told = "The report tells of more keys or certificates (" + _known(hint, "") + "), and they were not listed."
    verdict.say(pd.notna(hint) & ~listed, Outcome.UNKNOWN, told)
    return _without_keys(verdict, users)


def _without_keys(verdict: Verdicts, users: Cases) -> Verdicts:
    none = (users["known_keys"] == 0) & pd.isna(users["additional_credentials"])
    verdict.say(none, Outcome.NOT_APPLICABLE, "The user has no access key.")
    verdict.say(users["known_keys"] == UNKNOWN_NUMBER, Outcome.UNKNOWN, _unlisted(users))
    verdict.say(np.equal(users["listing"], "deleted"), Outcome.NOT_APPLICABLE, "The user was deleted after the report.")
    return verdict


# ------------------------------------------------------------------------------------------------- parts


def _count(number: npt.NDArray[np.int64], noun: str) -> Texts:
    texts: Texts = np.add(number.astype(str).astype(object), f" {noun}s")
    texts[number == 1] = f"1 {noun}"
    return texts


def _unlisted(users: Cases) -> Texts:
    texts: Texts = "The user's keys could not be listed: " + _known(users["listing_failed"], "no reason given") + "."
    return texts


def _date(days: npt.NDArray[np.int64]) -> Texts:
    """Days since 1970 as dates."""
    return np.datetime_as_string(days.astype("datetime64[D]")).astype(object)


def _known(texts: Texts, otherwise: str) -> Texts:
    return np.where(pd.isna(texts), otherwise, texts)
