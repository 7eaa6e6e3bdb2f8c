"""Facts → verdicts: every control on every key or user, by whole columns. The same inputs give the same table, always.

What is judged is put into cases first: keys of the same age in days, due on the same day, with nothing else to tell
them apart, get the same verdict in the same words, so each case is judged and worded once (`auditor.policy.rules`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import ExtensionArray

from auditor.model import ROOT_USER, ControlId, Outcome, Policy, Severity
from auditor.policy import rules
from auditor.policy.limits import instant, is_broken
from auditor.policy.rules import UNKNOWN_NUMBER, Cases, Verdicts
from auditor.tables import FINDINGS, KEYS, Snapshot, texts

DAY = timedelta(days=1)

Positions = npt.NDArray[np.intp]
Instants = npt.NDArray[np.datetime64]

_SUBJECT = {name: dtype for name, dtype in FINDINGS.items() if name in KEYS}
"""What a verdict tells of the key, user or account that is judged."""
_STANDING = ("key_status", "identity", "identity_problem", "is_root")


@dataclass(frozen=True)
class _Subjects:
    """What verdicts tell of the keys, the users and the accounts that are judged, one after the other."""

    columns: Mapping[str, ExtensionArray]
    account: Positions
    """The place of each one's account among all."""

    @classmethod
    def of(cls, *frames: pd.DataFrame) -> "_Subjects":
        """What is not known of one kind is missing; when a user was created is not told."""

        def column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
            told = name in frame and (name != "created_at" or "key_status" in frame)
            return frame[name] if told else pd.Series(pd.NA, frame.index, _SUBJECT[name])

        columns = {name: pd.concat([column(frame, name) for frame in frames]).array for name in _SUBJECT}
        return cls(columns, pd.factorize(columns["account_id"].to_numpy(object), sort=True)[0])

    def in_order(self, first: int, frame: pd.DataFrame) -> Positions:
        """The frame's rows, of which the first is this subject, by account, user, slot and id; missing ones last."""
        order = np.arange(len(frame))
        for name in ("access_key_id", "slot"):
            if name in frame and frame[name].notna().any():
                codes = pd.factorize(frame[name], sort=True, use_na_sentinel=False)[0]
                order = order[np.argsort(codes[order], kind="stable")]
        order = order[np.argsort(frame["user"].to_numpy(object)[order], kind="stable")]
        return order[np.argsort(self.account[first + order], kind="stable")]


@dataclass(frozen=True)
class _Judged:
    """Verdicts of one control, in the order of their subjects."""

    control: ControlId
    subject: Positions
    """Place in `_Subjects`."""
    case: Positions
    """Place in `cases`."""
    cases: Verdicts
    due_at: Instants

    @classmethod
    def by_case(cls, control: ControlId, subject: Positions, case: Positions, cases: Verdicts) -> "_Judged":
        """Verdicts that are not due at any time."""
        return cls(control, subject, case, cases, np.full(len(subject), "NaT", "datetime64[us]"))


def evaluate(snapshot: Snapshot, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """Judge every key and user of the snapshot under the policy at the instant `as_of`.

    Returns:
        A table of `auditor.tables.FINDINGS`, one row per verdict, compliant ones too; by account, then the gravest
        first, then by user and slot. So the tables of batches of accounts, one after the other, are the table of all.
    """
    keys, users, accounts = snapshot.keys, snapshot.users, _accounts_without_root_key(snapshot)
    subjects = _Subjects.of(keys, users, accounts)
    by_key = subjects.in_order(0, keys)
    by_user = subjects.in_order(len(keys), users)
    now = instant(as_of)
    standing = _standing(keys, now)
    judged = [
        _key_age(keys, by_key, standing, policy, now),
        _key_unused(keys, by_key, standing, policy, now),
        _root_keys(keys, by_key, policy),
        _root_of_accounts(accounts, len(keys) + len(users)),
        *_controls_on_users(users, by_user, len(keys), policy),
    ]
    return _findings(subjects, sorted(judged, key=lambda part: _gravity(policy, part.control)), policy, now)


def gravest_first(findings: pd.DataFrame) -> pd.DataFrame:
    """Findings in the order of `evaluate`, or some of them, with the gravest of all accounts first, by control."""
    ranks = {severity.value: -severity.rank for severity in Severity}
    controls = {control.value: position for position, control in enumerate(ControlId)}
    severity, control = findings["severity"].map(ranks), findings["control"].map(controls)
    order = np.lexsort((control.to_numpy(np.int64), severity.to_numpy(np.int64)))
    return findings.take(order).reset_index(drop=True)


def _gravity(policy: Policy, control: ControlId) -> tuple[int, int]:
    return -policy.severities[control].rank, list(ControlId).index(control)


# ------------------------------------------------------------------------------------------------- keys


def _standing(keys: pd.DataFrame, now: np.datetime64) -> tuple[Cases, Positions]:
    """What is known of keys whatever the control, as cases: where they stand, and which were created after `now`."""
    return _cases({**_plain(keys, *_STANDING), "future": _instants(keys["created_at"]) > now})


def _key_age(
    keys: pd.DataFrame,
    by_key: Positions,
    standing: tuple[Cases, Positions],
    policy: Policy,
    now: np.datetime64,
) -> _Judged:
    created = _instants(keys["created_at"])
    due: Instants = np.add(created, np.timedelta64(policy.key_age.maximum, "us"))
    broken = is_broken(policy.key_age, created, now)
    cases, case = _cases(_elapsed(created, due, broken, now), standing)
    return _due(ControlId.KEY_AGE, by_key, case[by_key], rules.key_age(cases, policy), due[by_key])


def _key_unused(
    keys: pd.DataFrame,
    by_key: Positions,
    standing: tuple[Cases, Positions],
    policy: Policy,
    now: np.datetime64,
) -> _Judged:
    created, used = _instants(keys["created_at"]), _instants(keys["last_used_at"])
    start = np.where(np.isnat(used), created, used)
    due: Instants = np.add(start, np.timedelta64(policy.key_unused.maximum, "us"))
    broken = is_broken(policy.key_unused, start, now)
    young = np.isnat(used) & (now - created < np.timedelta64(policy.unused_grace, "us"))
    facts = {
        **_elapsed(start, due, broken, now),
        "used": ~np.isnat(used),
        "young": young,
        **_plain(keys, "last_used_state", "last_used_problem"),
    }
    cases, case = _cases(facts, standing)
    return _due(ControlId.KEY_UNUSED, by_key, case[by_key], rules.key_unused(cases, policy), due[by_key])


def _elapsed(
    start: Instants, due: Instants, broken: npt.NDArray[np.bool_], now: np.datetime64
) -> dict[str, npt.NDArray[Any]]:
    """Days since a start and the day of its end, as whole numbers; 0 where there is no start."""
    missing = np.isnat(start)
    days = {"days": _whole_days(now - start).clip(min=0), "due": _whole_days(due - np.datetime64(0, "us"))}
    return {name: np.where(missing, 0, number) for name, number in days.items()} | {
        "broken": broken,
        "missing": missing,
    }


def _due(control: ControlId, subject: Positions, case: Positions, verdicts: Verdicts, due: Instants) -> _Judged:
    """Verdicts on keys; what does not apply is not due."""
    applies = ~verdicts.are(Outcome.NOT_APPLICABLE)
    due_at = np.where(applies[case], due, np.datetime64("NaT"))
    return _Judged(control, subject, case, verdicts, due_at)


def _root_keys(keys: pd.DataFrame, by_key: Positions, policy: Policy) -> _Judged:
    subject = by_key[keys["is_root"].to_numpy(bool, na_value=False)[by_key]]
    cases, case = _cases(_plain(keys.take(subject), "key_status"))
    return _Judged.by_case(ControlId.ROOT_ACCESS_KEY, subject, case, rules.root_keys(cases, policy))


# ------------------------------------------------------------------------------------------------- users and accounts


def _accounts_without_root_key(snapshot: Snapshot) -> pd.DataFrame:
    """The audited accounts that have no root key to judge: none there, or none to be seen; with their root user."""
    accounts, users = snapshot.accounts, snapshot.users
    audited = accounts[accounts["audited"].fillna(value=False).astype(bool)]
    present, active = audited["root_keys_present"], audited["root_keys_active"]
    audited = audited[present.isna() | active.isna() | present.eq(0).fillna(value=False)]
    root = users.loc[users["is_root"].fillna(value=False).astype(bool), ["account_id", "user", "user_arn"]]
    rows = audited.merge(root, on="account_id", how="left")
    rows["user"] = rows["user"].fillna(ROOT_USER)
    arn = "arn:" + rows["partition"] + ":iam::" + rows["account_id"] + ":root"
    rows["user_arn"] = rows["user_arn"].fillna(arn)
    return rows.sort_values("account_id", kind="stable", ignore_index=True)


def _root_of_accounts(accounts: pd.DataFrame, first: int) -> _Judged:
    cases, case = _cases(_plain(accounts, "root_keys_present"))
    verdicts = rules.accounts_without_root_key(cases)
    return _Judged.by_case(ControlId.ROOT_ACCESS_KEY, first + np.arange(len(accounts)), case, verdicts)


def _controls_on_users(users: pd.DataFrame, by_user: Positions, first: int, policy: Policy) -> list[_Judged]:
    rows = by_user[~users["is_root"].to_numpy(bool, na_value=False)[by_user]]
    known = ("active_keys", "known_keys", "listing", "listing_failed", "additional_column", "additional_credentials")
    cases, case = _cases({name: column[rows] for name, column in _plain(users, *known).items()})
    verdicts = {
        ControlId.ONE_ACTIVE_KEY: rules.one_active_key(cases, policy),
        ControlId.EXTRA_KEYS: rules.extra_keys(cases),
    }
    return [_Judged.by_case(control, first + rows, case, verdict) for control, verdict in verdicts.items()]


# ------------------------------------------------------------------------------------------------- parts


def _plain(frame: pd.DataFrame, *names: str) -> Cases:
    """Columns of a table as the rules read them."""
    missing: Mapping[str, tuple[type[np.generic], Any]] = {
        "Int64": (np.int64, UNKNOWN_NUMBER),
        "boolean": (np.bool_, False),
        "string": (np.object_, None),
    }

    def plain(column: "pd.Series[Any]") -> npt.NDArray[Any]:
        dtype, value = missing[str(column.dtype)]
        return column.to_numpy(dtype, na_value=value)

    return {name: plain(frame[name]) for name in names}


def _cases(columns: Cases, further: tuple[Cases, Positions] | None = None) -> tuple[Cases, Positions]:
    """The distinct rows of these columns, and which of them each row is; `further` are such cases to be told apart."""
    case = further[1] if further else np.zeros(len(next(iter(columns.values()))), np.intp)
    for column in columns.values():
        codes, values = pd.factorize(column)
        case = pd.factorize(case * (len(values) + 1) + codes + 1)[0]
    example = np.empty(case.max(initial=-1) + 1, np.intp)
    example[case[::-1]] = np.arange(len(case))[::-1]
    cases = {name: column[example] for name, column in columns.items()}
    if further:
        cases |= {name: column[further[1][example]] for name, column in further[0].items()}
    return cases, case


def _findings(subjects: _Subjects, parts: Sequence[_Judged], policy: Policy, now: np.datetime64) -> pd.DataFrame:
    subject = np.concatenate([part.subject for part in parts])
    order = np.argsort(subjects.account[subject], kind="stable")
    subject = subject[order]
    sizes = [len(part.subject) for part in parts]
    first_case = np.cumsum([0, *(len(part.cases.outcome) for part in parts)])[:-1]
    case = (np.repeat(first_case, sizes) + np.concatenate([part.case for part in parts]))[order]
    control = np.repeat(np.arange(len(parts)), sizes)[order]
    told: dict[str, Any] = {name: column.take(subject) for name, column in subjects.columns.items()}
    created = _instants(pd.Series(subjects.columns["created_at"]))
    days = pd.arrays.IntegerArray(_whole_days(now - created).clip(min=0), np.isnat(created))
    told |= {
        "age_days": days.take(subject),
        "control": texts([part.control.value for part in parts]).take(control),
        "severity": texts([policy.severities[part.control].value for part in parts]).take(control),
        "outcome": texts(np.concatenate([part.cases.outcome for part in parts])).take(case),
        "reason": texts(np.concatenate([part.cases.reason for part in parts])).take(case),
        "due_at": pd.Series(np.concatenate([part.due_at for part in parts])[order]).dt.tz_localize("UTC").array,
    }
    return pd.DataFrame({name: told[name] for name in FINDINGS}, copy=False)


def _instants(column: "pd.Series[pd.Timestamp]") -> Instants:
    return column.to_numpy("datetime64[us]")


def _whole_days(elapsed: npt.NDArray[np.timedelta64]) -> npt.NDArray[np.int64]:
    """Rounded down; what is missing gives any number."""
    return elapsed.view(np.int64) // (DAY // timedelta(microseconds=1))
