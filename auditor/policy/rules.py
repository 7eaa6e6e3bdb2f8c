"""What each control says of a case, and why, in words. A case stands for all keys or users of whom the same is known.

A verdict that would be non-compliant but rests on something that could not be confirmed is `unknown`; a compliant one
needs no confirmation, because nothing that may have happened since can make a key older or its last use earlier.

Each rule takes a table of cases and returns their verdicts: a table of `outcome` and `reason` with the same rows.
"""

import numpy as np
import pandas as pd

from auditor.model import ControlId, KeyStatus, Outcome, Policy
from auditor.report_columns import SLOTS


def key_age(cases: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """By `days`, `due` (a date), `broken`, `missing` and what `_settle` needs."""
    verdict = _start(cases)
    age, due, old = _count(cases["days"], "day"), _date(cases["due"]), cases["broken"]
    _say(verdict, ~old, Outcome.COMPLIANT, age + " old; due on " + due + ".")
    _say(verdict, old, Outcome.NON_COMPLIANT, age + f" old: {policy.key_age} fails; it was due on " + due + ".")
    _say(verdict, cases["missing"], Outcome.UNKNOWN, "The creation date is not known, so neither is the age.")
    return _settle(verdict, cases)


def key_unused(cases: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Idle time from the last use, or from creation where there is none on record (CIS 1.12, audit text).

    By `days`, `due`, `broken` and `missing` of that start, `used`, `young`, `last_used_state`, `last_used_problem`
    and what `_settle` needs.
    """
    verdict = _start(cases)
    ago, due, idle, young = _count(cases["days"], "day"), _date(cases["due"]), cases["broken"], cases["young"]
    activity = ("Last used " + ago + " ago").where(cases["used"], "Created " + ago + " ago, no use on record")
    fails = f": not used for {policy.key_unused} fails; it was due on "
    _say(verdict, ~idle, Outcome.COMPLIANT, activity + "; due on " + due + ".")
    _say(verdict, idle, Outcome.NON_COMPLIANT, activity + fails + due + ".")
    _say(verdict, young, Outcome.COMPLIANT, activity + ": too young to be judged unused.")
    unsure = idle & ~young & cases["last_used_state"].eq("unknown")
    why = cases["last_used_problem"].fillna("no reason given")
    _say(verdict, unsure, Outcome.UNKNOWN, "Last use is not known: " + why + ". Otherwise: " + activity + ".")
    _say(verdict, cases["missing"], Outcome.UNKNOWN, "Neither creation nor last use is known.")
    return _settle(verdict, cases)


def _settle(verdict: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """What holds for every control on a user's key: who is out of scope, and what could not be confirmed.

    By `identity`, `identity_problem`, `key_status`, `future` and `is_root`.
    """
    unconfirmed = cases["identity"].eq("unknown") & verdict["outcome"].eq(Outcome.NON_COMPLIANT.value)
    problem = cases["identity_problem"].fillna("no reason given")
    doubt = "Not confirmed: " + problem + ". As far as is known: " + verdict["reason"]
    _say(verdict, unconfirmed, Outcome.UNKNOWN, doubt)
    inactive = cases["key_status"].eq(KeyStatus.INACTIVE.value) & ~unconfirmed
    deleted = cases["key_status"].eq(KeyStatus.DELETED.value)
    _say(verdict, inactive, Outcome.NOT_APPLICABLE, "The key is inactive.")
    _say(verdict, deleted, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    _say(verdict, cases["future"], Outcome.NOT_APPLICABLE, "The key was created after the instant of judgement.")
    _say(verdict, cases["is_root"], Outcome.NOT_APPLICABLE, f"Root keys are judged by {ControlId.ROOT_ACCESS_KEY}.")
    return verdict


def root_keys(cases: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Of each root key, by `key_status`; both readings of the standards, active and present, are told."""
    verdict = _start(cases)
    active = cases["key_status"].eq(KeyStatus.ACTIVE.value)
    present = Outcome.NON_COMPLIANT if policy.inactive_root_key_fails else Outcome.COMPLIANT
    _say(verdict, active, Outcome.NON_COMPLIANT, "The root user has an active access key.")
    _say(verdict, ~active, present, "The root user has an inactive access key: present, not active. Delete it.")
    return verdict


def accounts_without_root_key(cases: pd.DataFrame) -> pd.DataFrame:
    """Of accounts that have no root key to judge, by `root_keys_present`: none there, or none to be seen."""
    verdict = _start(cases)
    present = cases["root_keys_present"]
    seen = present.gt(0).fillna(value=False)
    _say(verdict, ~seen, Outcome.COMPLIANT, "The root user has no access key.")
    _say(verdict, seen, Outcome.NON_COMPLIANT, "The account summary says that a root access key is present.")
    _say(verdict, present.isna(), Outcome.UNKNOWN, "Neither the credential report nor the account summary tells.")
    return verdict


def one_active_key(users: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Of users, by `active_keys`, `known_keys`, `listing`, `listing_failed` and `additional_credentials`."""
    verdict = _start(users)
    active = users["active_keys"]
    count = _count(active, "active access key")
    too_many = active.gt(policy.max_active_keys)
    _say(verdict, ~too_many, Outcome.COMPLIANT, count + ".")
    _say(verdict, too_many, Outcome.NON_COMPLIANT, count + f": more than {policy.max_active_keys}.")
    doubt = "Not confirmed: the live look-up failed (" + users["listing_failed"].fillna("") + "). The report says "
    _say(verdict, too_many & users["listing"].eq("failed"), Outcome.UNKNOWN, doubt + count + ".")
    return _without_keys(verdict, users)


def extra_keys(users: pd.DataFrame) -> pd.DataFrame:
    """Of users, by the same and `additional_column`.

    More than two keys: counted by the listing, or told by the report's optional last column.
    """
    verdict = _start(users)
    known = users["known_keys"]
    count = _count(known, "access key")
    listed = users["listing"].eq("live")
    extra = known.gt(SLOTS)
    full = known.eq(SLOTS) & ~listed
    silent = ~users["additional_column"].fillna(value=False).astype(bool)
    hint = users["additional_credentials"]
    _say(verdict, ~extra, Outcome.COMPLIANT, count + ".")
    _say(verdict, extra, Outcome.NON_COMPLIANT, count + ": more than two.")
    cannot_tell = "Both slots are taken, and this credential report does not say whether there are more keys."
    _say(verdict, full & silent, Outcome.NOT_APPLICABLE, cannot_tell)
    _say(verdict, full & users["listing"].eq("failed"), Outcome.UNKNOWN, "The keys could not be listed.")
    told = "The report tells of more keys or certificates (" + hint.fillna("") + "), and they were not listed."
    _say(verdict, hint.notna() & ~listed, Outcome.UNKNOWN, told)
    return _without_keys(verdict, users)


def _without_keys(verdict: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    none = users["known_keys"].eq(0) & users["additional_credentials"].isna()
    _say(verdict, none, Outcome.NOT_APPLICABLE, "The user has no access key.")
    why = "The user's keys could not be listed: " + users["listing_failed"].fillna("no reason given") + "."
    _say(verdict, users["known_keys"].isna(), Outcome.UNKNOWN, why)
    _say(verdict, users["listing"].eq("deleted"), Outcome.NOT_APPLICABLE, "The user was deleted after the report.")
    return verdict


# ------------------------------------------------------------------------------------------------- parts


def _start(cases: pd.DataFrame) -> pd.DataFrame:
    """A verdict per case with nothing said yet."""
    return pd.DataFrame({"outcome": pd.NA, "reason": pd.NA}, index=cases.index, dtype="string")


def _say(verdict: pd.DataFrame, where: "pd.Series[bool]", outcome: Outcome, reason: "str | pd.Series[str]") -> None:
    mask = where.fillna(value=False).astype(bool)
    verdict.loc[mask, "outcome"] = outcome.value
    verdict.loc[mask, "reason"] = reason if isinstance(reason, str) else reason[mask]


def _count(number: "pd.Series[int]", noun: str) -> "pd.Series[str]":
    return (number.astype("string") + f" {noun}s").where(number.ne(1), f"1 {noun}")


def _date(days: "pd.Series[int]") -> "pd.Series[str]":
    """Days since 1970 as dates."""
    dates = np.datetime_as_string(days.to_numpy(np.int64).astype("datetime64[D]"))
    return pd.Series(dates, days.index, "string")
