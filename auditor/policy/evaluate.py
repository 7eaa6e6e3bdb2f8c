"""Facts → verdicts: every criterion on every key or user, by whole columns. The same inputs always give the same table.

What is judged is put into cases first: keys of the same age in days, due on the same day, with nothing else to tell
them apart, get the same verdict in the same words, so each case is judged and worded once (`auditor.policy.verdicts`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import ExtensionArray

from auditor.model import ROOT_USER, ControlId, KeyStatus, Outcome, Policy, Severity
from auditor.policy import key_rules, user_rules
from auditor.policy.criteria import Asked, criteria
from auditor.policy.exemptions import exempted
from auditor.policy.limits import Elapsed, Limits, Positions, instant, limits_for
from auditor.policy.scopes import of_table, places_of
from auditor.policy.verdicts import UNKNOWN_NUMBER, Cases, Verdicts
from auditor.report_columns import Flags, Instants, Texts
from auditor.tables import CREDENTIALS, FINDINGS, KEYS, Snapshot, texts

DAY = timedelta(days=1)

WITH_THE_USER = timedelta(minutes=10)
"""A key created so soon after its user was created together with it; AWS keeps both to the second."""

WHOLE_ACCOUNT = "<account>"
"""Stands for the user in a verdict on an account as a whole."""

_SUBJECT = {name: dtype for name, dtype in FINDINGS.items() if name in {**KEYS, **CREDENTIALS}}
"""What a verdict tells of the key, credential, user or account that is judged."""
_STANDING = ("key_status", "identity", "identity_problem", "is_root")

Standing = tuple[Cases, Positions]


@dataclass(frozen=True)
class _Told:
    """What verdicts tell of the keys, credentials, users and accounts that are judged, one after the other."""

    columns: Mapping[str, ExtensionArray]
    account: Positions
    """The place of each one's account among all."""

    @classmethod
    def of(cls, *frames: pd.DataFrame) -> "_Told":
        """What is not known of one kind is missing; when a user was created is not told."""

        def column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
            told = name in frame and (name != "created_at" or "key_status" in frame)
            return frame[name] if told else pd.Series(pd.NA, frame.index, _SUBJECT[name])

        columns = {name: pd.concat([column(frame, name) for frame in frames]).array for name in _SUBJECT}
        return cls(columns, pd.factorize(columns["account_id"].to_numpy(object), sort=True)[0])

    def in_order(self, first: int, frame: pd.DataFrame) -> Positions:
        """The frame's rows, of which the first is this subject, by account, user, slot and id; missing ones last."""
        order = np.arange(len(frame))
        for name in ("access_key_id", "credential_id", "slot"):
            if name in frame and frame[name].notna().any():
                codes = pd.factorize(frame[name], sort=True, use_na_sentinel=False)[0]
                order = order[np.argsort(codes[order], kind="stable")]
        order = order[np.argsort(frame["user"].to_numpy(object)[order], kind="stable")]
        return order[np.argsort(self.account[first + order], kind="stable")]


@dataclass(frozen=True)
class _Judged:
    """Verdicts by one criterion, in the order of their subjects."""

    asked: Asked
    subject: Positions
    """Place in `_Told`."""
    case: Positions
    """Place in `cases`."""
    cases: Verdicts
    due_at: Instants
    limits: Sequence[str] = ("",)
    choice: Positions | None = None
    """Place of each one's limit in `limits`; None where it has none."""


def evaluate(snapshot: Snapshot, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """Judge every key, credential and user of the snapshot under the policy and its frameworks at the instant `as_of`.

    Returns:
        A table of `auditor.tables.FINDINGS`, one row per verdict, compliant ones too; by account, then the gravest
        first, then by user and slot. So the tables of batches of accounts, one after the other, are the table of all.
    """
    facts = _Facts(snapshot, policy, instant(as_of))
    asked = sorted(criteria(policy), key=lambda one: _gravity(policy, one.control))
    parts = [part for one in asked for part in _JUDGES[one.control](facts, one)]
    return exempted(_findings(facts, parts), snapshot, policy, as_of)


def gravest_first(findings: pd.DataFrame) -> pd.DataFrame:
    """Findings in the order of `evaluate`, or some of them, with the gravest of all accounts first, by control."""
    ranks = {severity.value: -severity.rank for severity in Severity}
    controls = {control.value: position for position, control in enumerate(ControlId)}
    severity, control = findings["severity"].map(ranks), findings["control"].map(controls)
    order = np.lexsort((control.to_numpy(np.int64), severity.to_numpy(np.int64)))
    return findings.take(order).reset_index(drop=True)


def _gravity(policy: Policy, control: ControlId) -> tuple[int, int]:
    return -policy.severities[control].rank, list(ControlId).index(control)


class _Facts:
    """The snapshot as the criteria read it; what several of them need is worked out once."""

    def __init__(self, snapshot: Snapshot, policy: Policy, now: np.datetime64) -> None:
        self.snapshot, self.policy, self.instant = snapshot, policy, now
        self.keys, self.users, self.credentials = snapshot.keys, snapshot.users, snapshot.credentials
        self.audited = _audited_accounts(snapshot)
        roots = self.audited.assign(user=ROOT_USER)
        frames = (self.keys, self.users, self.credentials, self.audited, roots)
        self.first = np.cumsum([0, *map(len, frames)])[:-1].tolist()
        """The place of each table's first row in `told`: keys, users, credentials, accounts, and their root users."""
        self.told = _Told.of(*frames)

    @cached_property
    def by_key(self) -> Positions:
        """The keys in the order of their verdicts."""
        return self.told.in_order(0, self.keys)

    @cached_property
    def by_user(self) -> Positions:
        """The users, without root, in the order of their verdicts."""
        order = self.told.in_order(self.first[1], self.users)
        return order[~_flags(self.users, "is_root")[order]]

    @cached_property
    def by_credential(self) -> Positions:
        """The service-specific credentials in the order of their verdicts."""
        return self.told.in_order(self.first[2], self.credentials)

    @cached_property
    def created(self) -> Instants:
        """The keys' creation."""
        return _instants(self.keys["created_at"])

    @cached_property
    def used(self) -> Instants:
        """The keys' last use, as far as it is known."""
        return _instants(self.keys["last_used_at"])

    @cached_property
    def standing(self) -> Standing:
        """What is known of keys whatever the criterion, as cases: where they stand, and which are not created yet."""
        return _cases({**_plain(self.keys, *_STANDING), "future": self.created > self.instant})

    def limits(self, asked: Asked, frame: pd.DataFrame) -> Limits:
        """The limit that holds for each row."""
        places = self.snapshot.accounts
        return limits_for(self.policy, asked, len(frame), lambda: of_table(frame, self.users, places_of(places)))


def _audited_accounts(snapshot: Snapshot) -> pd.DataFrame:
    """The audited accounts by id, as verdicts on a whole account tell of them."""
    accounts = snapshot.accounts
    audited = accounts[accounts["audited"].fillna(value=False).astype(bool)]
    rows = audited.sort_values("account_id", kind="stable", ignore_index=True)
    rows["user"] = pd.Series(WHOLE_ACCOUNT, rows.index, "string")
    rows["user_arn"] = "arn:" + rows["partition"] + ":iam::" + rows["account_id"] + ":root"
    return rows


# ------------------------------------------------------------------------------------------------- keys


def _key_age(facts: _Facts, asked: Asked) -> list[_Judged]:
    limits = facts.limits(asked, facts.keys)
    elapsed = limits.judge(facts.created, facts.instant)
    cases, case = _cases(_elapsed(facts.created, elapsed, facts.instant), facts.standing)
    verdicts = key_rules.key_age(cases, _words(limits))
    return [_due(asked, facts.by_key, case, verdicts, elapsed, limits)]


def _key_unused(facts: _Facts, asked: Asked) -> list[_Judged]:
    created, used, now = facts.created, facts.used, facts.instant
    start = np.where(np.isnat(used), created, used)
    limits = facts.limits(asked, facts.keys)
    elapsed = limits.judge(start, now)
    columns = {
        **_elapsed(start, elapsed, now),
        "used": ~np.isnat(used),
        "young": np.isnat(used) & (now - created < np.timedelta64(asked.criterion.grace, "us")),
        **_plain(facts.keys, "last_used_state", "last_used_problem"),
    }
    cases, case = _cases(columns, facts.standing)
    verdicts = key_rules.key_unused(cases, _words(limits))
    return [_due(asked, facts.by_key, case, verdicts, elapsed, limits)]


def _key_at_user_creation(facts: _Facts, asked: Asked) -> list[_Judged]:
    keys = facts.keys
    password = keys["password_enabled"]
    active = np.equal(_plain(keys, "key_status")["key_status"], KeyStatus.ACTIVE.value)
    humans = password.fillna(value=True).to_numpy(bool)  # where it is not known, it is for the rule to say so
    subject = facts.by_key[(active & humans & ~_flags(keys, "is_root"))[facts.by_key]]
    born = _instants(keys["user_created_at"])
    columns = {
        "dated": ~np.isnat(born) & ~np.isnat(facts.created),
        "together": facts.created - born < np.timedelta64(WITH_THE_USER, "us"),
        "young": facts.instant - facts.created < np.timedelta64(asked.criterion.grace, "us"),
        "password_known": password.notna().to_numpy(bool),
        **_plain(keys, "last_used_state", "last_used_problem"),
    }
    cases, case = _cases(_rows(columns, subject), _of_rows(facts.standing, subject))
    return [_undated(asked, subject, case, key_rules.key_at_user_creation(cases, asked.criterion))]


def _inactive_key_retained(facts: _Facts, asked: Asked) -> list[_Judged]:
    keys = facts.keys
    inactive = np.equal(_plain(keys, "key_status")["key_status"], KeyStatus.INACTIVE.value)
    subject = facts.by_key[(inactive & ~_flags(keys, "is_root"))[facts.by_key]]
    rows = keys.take(subject)
    observed = _instants(rows["inactive_since"])
    since = np.where(np.isnat(observed), facts.instant, observed)  # a snapshot that nobody compared with earlier runs
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(since, facts.instant)
    columns = {
        **_elapsed(since, elapsed, facts.instant),
        "since": _whole_days(since - np.datetime64(0, "us")),
        "first": since >= facts.instant,
        **_plain(rows, "identity", "identity_problem"),
    }
    cases, case = _cases(columns)
    verdicts = key_rules.inactive_key_retained(cases, _words(limits))
    return [_Judged(asked, subject, case, verdicts, elapsed.due, _words(limits), elapsed.choice)]


def _quarantined_key(facts: _Facts, asked: Asked) -> list[_Judged]:
    keys = facts.keys
    held = keys["quarantined_by"].notna().to_numpy(bool) & ~_flags(keys, "is_root")
    subject = facts.by_key[held[facts.by_key]]
    cases, case = _cases(_plain(keys.take(subject), "quarantined_by", "key_status"))
    of_keys = _undated(asked, subject, case, key_rules.quarantined_key(cases))
    whole, case = _cases(_plain(facts.audited, "quarantine", "quarantine_problem", "quarantine_lost"))
    rows = facts.first[3] + np.arange(len(facts.audited))
    return [of_keys, _undated(asked, rows, case, user_rules.quarantine_of_accounts(whole))]


def _root_access_key(facts: _Facts, asked: Asked) -> list[_Judged]:
    keys = facts.keys
    subject = facts.by_key[_flags(keys, "is_root")[facts.by_key]]
    cases, case = _cases(_plain(keys.take(subject), "key_status"))
    of_keys = _undated(asked, subject, case, key_rules.root_keys(cases, asked.criterion))
    accounts = facts.audited
    present, active = accounts["root_keys_present"], accounts["root_keys_active"]
    # none there, or none to be seen
    rows = np.flatnonzero(present.isna() | active.isna() | present.eq(0).fillna(value=False))
    whole, case = _cases(_plain(accounts.take(rows), "root_keys_present"))
    verdicts = user_rules.accounts_without_root_key(whole)
    return [of_keys, _undated(asked, facts.first[4] + rows, case, verdicts)]


# ------------------------------------------------------------------------------------------------- credentials


def _service_credential_age(facts: _Facts, asked: Asked) -> list[_Judged]:
    order, now = facts.by_credential, facts.instant
    rows = facts.credentials.take(order)
    created, expires = _instants(rows["created_at"]), _instants(rows["expires_at"])
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(created, now)
    columns = {
        **_elapsed(created, elapsed, now),
        **_plain(rows, "key_status", "service"),
        "has_expiry": ~np.isnat(expires),
        "expires": np.where(np.isnat(expires), 0, _whole_days(expires - np.datetime64(0, "us"))),
        "expired": expires <= now,
        "future": created > now,
    }
    cases, case = _cases(columns)
    verdicts = key_rules.service_credential_age(cases, _words(limits))
    applies = ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(applies, elapsed.due, np.datetime64("NaT"))
    of_each = _Judged(asked, facts.first[2] + order, case, verdicts, due_at, _words(limits), elapsed.choice)
    accounts = facts.audited
    without = np.flatnonzero(~accounts["account_id"].isin(set(rows["account_id"])).to_numpy(bool))
    whole, case = _cases(_plain(accounts.take(without), "service_credentials", "service_credentials_problem"))
    return [of_each, _undated(asked, facts.first[3] + without, case, user_rules.credentials_of_accounts(whole))]


# ------------------------------------------------------------------------------------------------- users


def _one_active_key(facts: _Facts, asked: Asked) -> list[_Judged]:
    rows = facts.users.take(facts.by_user)
    since, now = _instants(rows["rotation_since"]), facts.instant
    known = ("active_keys", "known_keys", "listing", "listing_failed", "additional_credentials")
    overlaps = _is_within(since, asked.criterion.grace, now)
    rotating = overlaps | _is_within(since, facts.policy.rotation_overlap, now)
    until = np.add(since, np.timedelta64(asked.criterion.grace, "us"))
    columns = {
        **_plain(rows, *known),
        "rotating": rotating,
        "since": np.where(rotating, _whole_days(since - np.datetime64(0, "us")), 0),
        "overlaps": overlaps,
        "until": np.where(rotating, _whole_days(until - np.datetime64(0, "us")), 0),
    }
    cases, case = _cases(columns)
    verdicts = user_rules.one_active_key(cases, asked.criterion)
    passing = verdicts.are(Outcome.COMPLIANT)[case] & overlaps & (columns["active_keys"] > asked.criterion.most)
    due_at = np.where(passing, until, np.datetime64("NaT"))
    return [_Judged(asked, facts.first[1] + facts.by_user, case, verdicts, due_at)]


def _extra_keys(facts: _Facts, asked: Asked) -> list[_Judged]:
    known = ("known_keys", "listing", "listing_failed", "additional_column", "additional_credentials")
    cases, case = _cases(_plain(facts.users.take(facts.by_user), *known))
    return [_undated(asked, facts.first[1] + facts.by_user, case, user_rules.extra_keys(cases))]


def _console_password_unused(facts: _Facts, asked: Asked) -> list[_Judged]:
    subject = _with_password(facts)
    rows = facts.users.take(subject)
    used, changed = _instants(rows["password_last_used_at"]), _instants(rows["password_changed_at"])
    start = np.where(np.isnat(used), changed, used)
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(start, facts.instant)
    columns = {
        **_elapsed(start, elapsed, facts.instant),
        "used": ~np.isnat(used),
        "use_unknown": _plain(rows, "password_use_unknown")["password_use_unknown"],
        **_password(rows),
    }
    cases, case = _cases(columns)
    verdicts = user_rules.console_password_unused(cases, _words(limits))
    judged = ~verdicts.are(Outcome.UNKNOWN)[case] & ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(judged, elapsed.due, np.datetime64("NaT"))
    return [_Judged(asked, facts.first[1] + subject, case, verdicts, due_at, _words(limits), elapsed.choice)]


def _console_mfa(facts: _Facts, asked: Asked) -> list[_Judged]:
    subject = _with_password(facts)
    rows = facts.users.take(subject)
    cases, case = _cases({"mfa": _answers(rows, "mfa_active"), **_password(rows)})
    return [_undated(asked, facts.first[1] + subject, case, user_rules.console_mfa(cases))]


def _with_password(facts: _Facts) -> Positions:
    """Users with a console password, or of whom that is not known."""
    found: Positions = facts.by_user[_answers(facts.users, "password_enabled")[facts.by_user] != 0]
    return found


def _password(rows: pd.DataFrame) -> Cases:
    return {"has_password": _answers(rows, "password_enabled"), **_plain(rows, "listing")}


_JUDGES: Mapping[ControlId, Callable[[_Facts, Asked], list[_Judged]]] = {
    ControlId.KEY_AGE: _key_age,
    ControlId.KEY_UNUSED: _key_unused,
    ControlId.ROOT_ACCESS_KEY: _root_access_key,
    ControlId.ONE_ACTIVE_KEY: _one_active_key,
    ControlId.EXTRA_KEYS: _extra_keys,
    ControlId.KEY_AT_USER_CREATION: _key_at_user_creation,
    ControlId.INACTIVE_KEY_RETAINED: _inactive_key_retained,
    ControlId.QUARANTINED_KEY: _quarantined_key,
    ControlId.SERVICE_CREDENTIAL_AGE: _service_credential_age,
    ControlId.CONSOLE_PASSWORD_UNUSED: _console_password_unused,
    ControlId.CONSOLE_MFA: _console_mfa,
}


# ------------------------------------------------------------------------------------------------- parts


def _words(limits: Limits) -> tuple[str, ...]:
    return tuple(choice.words for choice in limits.choices)


def _is_within(since: Instants, window: timedelta, now: np.datetime64) -> Flags:
    """Whether less than the window has passed; not where nothing began."""
    began: Flags = now - since < np.timedelta64(window, "us")
    return began


def _elapsed(start: Instants, elapsed: Elapsed, now: np.datetime64) -> dict[str, npt.NDArray[Any]]:
    """Days since a start and the day of its end, as whole numbers, 0 where there is no start; and what that breaks."""
    missing = np.isnat(start)
    days = {"days": _whole_days(now - start).clip(min=0), "due": _whole_days(elapsed.due - np.datetime64(0, "us"))}
    found: dict[str, npt.NDArray[Any]] = {name: np.where(missing, 0, number) for name, number in days.items()}
    return found | {
        "broken": elapsed.broken,
        "missing": missing,
        "unsure": elapsed.unsure,
        "choice": elapsed.choice,
    }


def _due(  # noqa: PLR0913, PLR0917 - what was judged, and what came out
    asked: Asked, subject: Positions, case: Positions, verdicts: Verdicts, elapsed: Elapsed, limits: Limits
) -> _Judged:
    """Verdicts on all keys, in the order of `subject`; what does not apply is not due."""
    applies = ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(applies, elapsed.due, np.datetime64("NaT"))[subject]
    return _Judged(asked, subject, case[subject], verdicts, due_at, _words(limits), elapsed.choice[subject])


def _undated(asked: Asked, subject: Positions, case: Positions, cases: Verdicts) -> _Judged:
    """Verdicts that are not due at any time."""
    return _Judged(asked, subject, case, cases, np.full(len(subject), "NaT", "datetime64[us]"))


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


def _flags(frame: pd.DataFrame, name: str) -> Flags:
    flags: Flags = _plain(frame, name)[name]
    return flags


def _answers(frame: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
    """A column of flags as 1, 0, and -1 for what is not known."""
    return frame[name].astype("Int64").to_numpy(np.int64, na_value=UNKNOWN_NUMBER).astype(np.int64)


def _rows(columns: Cases, rows: Positions) -> Cases:
    return {name: column[rows] for name, column in columns.items()}


def _of_rows(standing: Standing, rows: Positions) -> Standing:
    return standing[0], standing[1][rows]


def _cases(columns: Cases, further: Standing | None = None) -> Standing:
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


def _findings(facts: _Facts, parts: Sequence[_Judged]) -> pd.DataFrame:
    told_of, policy = facts.told, facts.policy
    subject = np.concatenate([part.subject for part in parts])
    order = np.argsort(told_of.account[subject], kind="stable")
    subject = subject[order]
    sizes = [len(part.subject) for part in parts]

    def gathered(tables: Sequence[Texts | Sequence[str | None]], places: Sequence[Positions]) -> ExtensionArray:
        """For each row a text out of its part's table."""
        first = np.cumsum([0, *map(len, tables)])[:-1]
        place = np.repeat(first, sizes) + np.concatenate(places)
        return texts(np.concatenate([np.array(table, np.object_) for table in tables])).take(place[order])

    same = [np.zeros(size, np.intp) for size in sizes]
    by_part = np.repeat(np.arange(len(parts)), sizes)[order]
    cases = [part.case for part in parts]
    created = _instants(pd.Series(told_of.columns["created_at"]))
    days = pd.arrays.IntegerArray(_whole_days(facts.instant - created).clip(min=0), np.isnat(created))
    rotation = _instants(pd.Series(told_of.columns["rotation_since"]))
    rotation = np.where(_is_within(rotation, policy.rotation_overlap, facts.instant), rotation, np.datetime64("NaT"))
    due_at = np.concatenate([part.due_at for part in parts])[order]
    clauses = ["\n".join(part.asked.clauses) or None for part in parts]
    told: dict[str, Any] = {name: column.take(subject) for name, column in told_of.columns.items()}
    told |= {
        "age_days": days.take(subject),
        "control": texts([part.asked.control.value for part in parts]).take(by_part),
        "severity": texts([policy.severities[part.asked.control].value for part in parts]).take(by_part),
        "outcome": gathered([part.cases.outcome for part in parts], cases),
        "reason": gathered([part.cases.reason for part in parts], cases),
        "due_at": pd.Series(due_at).dt.tz_localize("UTC").array,
        "by_policy": pd.array([part.asked.by_policy for part in parts], "boolean").take(by_part),
        "limit": gathered(
            [[text or None for text in part.limits] for part in parts],
            [zeros if part.choice is None else part.choice for zeros, part in zip(same, parts, strict=True)],
        ),
        "frameworks": texts(clauses).take(by_part),
        "exemption": pd.array([None], "string").take(np.zeros(len(subject), np.intp)),
        "rotation_since": pd.Series(rotation).dt.tz_localize("UTC").array.take(subject),
    }
    return pd.DataFrame({name: told[name] for name in FINDINGS}, copy=False)


def _instants(column: "pd.Series[pd.Timestamp]") -> Instants:
    return column.to_numpy("datetime64[us]")


def _whole_days(elapsed: npt.NDArray[np.timedelta64]) -> npt.NDArray[np.int64]:
    """Rounded down; what is missing gives any number."""
    return elapsed.view(np.int64) // (DAY // timedelta(microseconds=1))
