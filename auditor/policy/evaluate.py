"""Facts → verdicts: every control on every key or user, vectorised. The same inputs give the same table, always.

A verdict that would be non-compliant but rests on something that could not be confirmed is `unknown`; a compliant one
needs no confirmation, because nothing that may have happened since can make a key older or its last use earlier.
"""

from datetime import datetime, timedelta

import pandas as pd

from auditor.model import ControlId, KeyStatus, Outcome, Policy, Severity
from auditor.policy.limits import is_broken
from auditor.policy.selection import SLOTS
from auditor.tables import FINDINGS, Snapshot, conform

DAY = timedelta(days=1)


def evaluate(snapshot: Snapshot, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """Judge every key and user of the snapshot under the policy at the instant `as_of`.

    Returns:
        A table of `auditor.tables.FINDINGS`, one row per verdict, compliant ones too; the gravest first, then by
        account, user and slot.
    """
    keys = snapshot.keys
    users = snapshot.users
    verdicts = pd.concat(
        [
            _key_age(keys, policy, as_of),
            _key_unused(keys, policy, as_of),
            _root_keys(keys, policy),
            _accounts_without_root_key(snapshot.accounts, users),
            _one_active_key(users, policy),
            _extra_keys(users),
        ],
        ignore_index=True,
    )
    severities = {control.value: severity.value for control, severity in policy.severities.items()}
    verdicts["severity"] = verdicts["control"].map(severities)
    verdicts["age_days"] = _whole_days(as_of - verdicts["created_at"])
    return _in_order(conform(verdicts, FINDINGS))


# ------------------------------------------------------------------------------------------------- keys


def _key_age(keys: pd.DataFrame, policy: Policy, as_of: datetime) -> pd.DataFrame:
    created = keys["created_at"]
    old = is_broken(policy.key_age, created, as_of)
    verdict = _start(keys, ControlId.KEY_AGE)
    verdict["due_at"] = created + policy.key_age.maximum
    age = _days(as_of - created)
    due = _date(verdict["due_at"])
    _say(verdict, ~old, Outcome.COMPLIANT, age + " old; due on " + due + ".")
    _say(verdict, old, Outcome.NON_COMPLIANT, age + f" old: {policy.key_age} fails; it was due on " + due + ".")
    _say(verdict, created.isna(), Outcome.UNKNOWN, "The creation date is not known, so neither is the age.")
    return _settle(verdict, keys, as_of)


def _key_unused(keys: pd.DataFrame, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """Idle time from the last use, or from creation where there is none on record (CIS 1.12, audit text)."""
    created, used = keys["created_at"], keys["last_used_at"]
    start = used.fillna(created)
    idle = is_broken(policy.key_unused, start, as_of)
    young = used.isna() & (as_of - created < policy.unused_grace)
    verdict = _start(keys, ControlId.KEY_UNUSED)
    verdict["due_at"] = start + policy.key_unused.maximum
    ago = _days(as_of - start)
    activity = ("Last used " + ago + " ago").where(used.notna(), "Created " + ago + " ago, no use on record")
    due = _date(verdict["due_at"])
    fails = f": not used for {policy.key_unused} fails; it was due on "
    _say(verdict, ~idle, Outcome.COMPLIANT, activity + "; due on " + due + ".")
    _say(verdict, idle, Outcome.NON_COMPLIANT, activity + fails + due + ".")
    _say(verdict, young, Outcome.COMPLIANT, activity + ": too young to be judged unused.")
    unsure = idle & ~young & keys["last_used_state"].eq("unknown")
    why = keys["last_used_problem"].fillna("no reason given")
    _say(verdict, unsure, Outcome.UNKNOWN, "Last use is not known: " + why + ". Otherwise: " + activity + ".")
    _say(verdict, start.isna(), Outcome.UNKNOWN, "Neither creation nor last use is known.")
    return _settle(verdict, keys, as_of)


def _settle(verdict: pd.DataFrame, keys: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """What holds for every key-level control: who is out of scope, and what could not be confirmed."""
    unconfirmed = keys["identity"].eq("unknown") & verdict["outcome"].eq(Outcome.NON_COMPLIANT.value)
    problem = keys["identity_problem"].fillna("no reason given")
    doubt = "Not confirmed: " + problem + ". As far as is known: " + verdict["reason"]
    _say(verdict, unconfirmed, Outcome.UNKNOWN, doubt)
    status = keys["key_status"]
    inactive = status.eq(KeyStatus.INACTIVE.value) & ~unconfirmed
    deleted = status.eq(KeyStatus.DELETED.value)
    future = keys["created_at"] > as_of
    _say(verdict, inactive, Outcome.NOT_APPLICABLE, "The key is inactive.")
    _say(verdict, deleted, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    _say(verdict, future, Outcome.NOT_APPLICABLE, "The key was created after the instant of judgement.")
    root = keys["is_root"].fillna(value=False).astype(bool)
    _say(verdict, root, Outcome.NOT_APPLICABLE, f"Root keys are judged by {ControlId.ROOT_ACCESS_KEY}.")
    verdict.loc[verdict["outcome"].eq(Outcome.NOT_APPLICABLE.value), "due_at"] = pd.NaT
    return verdict


def _root_keys(keys: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """One verdict per root key; both readings of the standards, active and present, are told."""
    keys = keys[keys["is_root"].fillna(value=False).astype(bool)]
    verdict = _start(keys, ControlId.ROOT_ACCESS_KEY)
    active = keys["key_status"].eq(KeyStatus.ACTIVE.value)
    present = Outcome.NON_COMPLIANT if policy.inactive_root_key_fails else Outcome.COMPLIANT
    _say(verdict, active, Outcome.NON_COMPLIANT, "The root user has an active access key.")
    _say(verdict, ~active, present, "The root user has an inactive access key: present, not active. Delete it.")
    return verdict


# ------------------------------------------------------------------------------------------------- users and accounts


def _accounts_without_root_key(accounts: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """A verdict for each audited account that has no root key to judge: none there, or none to be seen."""
    audited = accounts[accounts["audited"].fillna(value=False).astype(bool)]
    present, active = audited["root_keys_present"], audited["root_keys_active"]
    audited = audited[present.isna() | active.isna() | present.eq(0).fillna(value=False)]
    root = users.loc[users["is_root"].fillna(value=False).astype(bool), ["account_id", "user", "user_arn"]]
    rows = audited.merge(root, on="account_id", how="left")
    rows["user"] = rows["user"].fillna("<root_account>")
    arn = "arn:" + rows["partition"] + ":iam::" + rows["account_id"] + ":root"
    rows["user_arn"] = rows["user_arn"].fillna(arn)
    verdict = _start(rows, ControlId.ROOT_ACCESS_KEY)
    present = rows["root_keys_present"]
    seen = present.gt(0).fillna(value=False)
    _say(verdict, ~seen, Outcome.COMPLIANT, "The root user has no access key.")
    _say(verdict, seen, Outcome.NON_COMPLIANT, "The account summary says that a root access key is present.")
    _say(verdict, present.isna(), Outcome.UNKNOWN, "Neither the credential report nor the account summary tells.")
    return verdict


def _one_active_key(users: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    users = users[~users["is_root"].fillna(value=False).astype(bool)]
    verdict = _start(users, ControlId.ONE_ACTIVE_KEY)
    active = users["active_keys"]
    count = _count(active, "active access key")
    too_many = active.gt(policy.max_active_keys)
    _say(verdict, ~too_many, Outcome.COMPLIANT, count + ".")
    _say(verdict, too_many, Outcome.NON_COMPLIANT, count + f": more than {policy.max_active_keys}.")
    doubt = "Not confirmed: the live look-up failed (" + users["listing_failed"].fillna("") + "). The report says "
    _say(verdict, too_many & users["listing"].eq("failed"), Outcome.UNKNOWN, doubt + count + ".")
    return _without_keys(verdict, users)


def _extra_keys(users: pd.DataFrame) -> pd.DataFrame:
    """More than two keys: counted by the listing, or told by the report's optional last column."""
    users = users[~users["is_root"].fillna(value=False).astype(bool)]
    verdict = _start(users, ControlId.EXTRA_KEYS)
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


def _start(things: pd.DataFrame, control: ControlId) -> pd.DataFrame:
    """A verdict per thing, with what is known of it and nothing judged yet."""
    known = set(things.columns)
    if "key_status" not in known:
        known.discard("created_at")  # a user's own creation date is not a key's
    columns = {
        name: things[name] if name in known else pd.Series(None, index=things.index, dtype=dtype)
        for name, dtype in FINDINGS.items()
    }
    verdict = pd.DataFrame(columns, index=things.index)
    verdict["control"] = control.value
    return verdict


def _say(verdict: pd.DataFrame, where: "pd.Series[bool]", outcome: Outcome, reason: "str | pd.Series[str]") -> None:
    mask = where.fillna(value=False).astype(bool)
    verdict.loc[mask, "outcome"] = outcome.value
    verdict.loc[mask, "reason"] = reason if isinstance(reason, str) else reason[mask]


def _whole_days(elapsed: "pd.Series[pd.Timedelta]") -> "pd.Series[int]":
    return (elapsed // DAY).astype("Int64").clip(lower=0)


def _days(elapsed: "pd.Series[pd.Timedelta]") -> "pd.Series[str]":
    return _count(_whole_days(elapsed), "day")


def _count(number: "pd.Series[int]", noun: str) -> "pd.Series[str]":
    return (number.astype("string") + f" {noun}s").where(number.ne(1), f"1 {noun}")


def _date(instant: "pd.Series[pd.Timestamp]") -> "pd.Series[str]":
    return instant.dt.strftime("%Y-%m-%d").astype("string")


def _in_order(verdicts: pd.DataFrame) -> pd.DataFrame:
    rank = {severity.value: -severity.rank for severity in Severity}
    controls = {control.value: position for position, control in enumerate(ControlId)}
    keyed = verdicts.assign(_rank=verdicts["severity"].map(rank), _control=verdicts["control"].map(controls))
    order = ["_rank", "_control", "account_id", "user", "slot", "access_key_id"]
    return keyed.sort_values(order, kind="stable", ignore_index=True)[list(FINDINGS)]
