"""Each control on the keys, credentials, users or accounts that it judges: their columns as cases, for the rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import ControlId, KeyStatus, Outcome
from auditor.policy import key_rules, user_rules
from auditor.policy.cases import answers, distinct, flags, instants, is_within, of_rows, plain, rows_of, whole_days
from auditor.policy.criteria import Asked
from auditor.policy.facts import Facts
from auditor.policy.limits import Elapsed, Limits, Positions
from auditor.policy.verdicts import Cases, Verdicts
from auditor.report_columns import Instants

WITH_THE_USER = timedelta(minutes=10)
"""A key created so soon after its user was created together with it; AWS keeps both to the second."""


@dataclass(frozen=True)
class Judged:
    """Verdicts by one criterion, in the order of their subjects."""

    asked: Asked
    subject: Positions
    """Place in `Told`."""
    case: Positions
    """Place in `cases`."""
    cases: Verdicts
    due_at: Instants
    limits: Sequence[str] = ("",)
    choice: Positions | None = None
    """Place of each one's limit in `limits`; None where it has none."""


# ------------------------------------------------------------------------------------------------- keys


def _key_age(facts: Facts, asked: Asked) -> list[Judged]:
    limits = facts.limits(asked, facts.keys)
    elapsed = limits.judge(facts.created, facts.instant)
    cases, case = distinct(_elapsed(facts.created, elapsed, facts.instant), facts.standing)
    verdicts = key_rules.key_age(cases, _words(limits))
    return [_due(asked, facts.by_key, case, verdicts, elapsed, limits)]


def _key_unused(facts: Facts, asked: Asked) -> list[Judged]:
    created, used, now = facts.created, facts.used, facts.instant
    start = np.where(np.isnat(used), created, used)
    limits = facts.limits(asked, facts.keys)
    elapsed = limits.judge(start, now)
    columns = {
        **_elapsed(start, elapsed, now),
        "used": ~np.isnat(used),
        "young": np.isnat(used) & (now - created < np.timedelta64(asked.criterion.grace, "us")),
        **plain(facts.keys, "last_used_state", "last_used_problem"),
    }
    cases, case = distinct(columns, facts.standing)
    verdicts = key_rules.key_unused(cases, _words(limits))
    return [_due(asked, facts.by_key, case, verdicts, elapsed, limits)]


def _key_at_user_creation(facts: Facts, asked: Asked) -> list[Judged]:
    keys = facts.keys
    password = keys["password_enabled"]
    active = np.equal(plain(keys, "key_status")["key_status"], KeyStatus.ACTIVE.value)
    humans = password.fillna(value=True).to_numpy(bool)  # where it is not known, it is for the rule to say so
    subject = facts.by_key[(active & humans & ~flags(keys, "is_root"))[facts.by_key]]
    born = instants(keys["user_created_at"])
    columns = {
        "dated": ~np.isnat(born) & ~np.isnat(facts.created),
        "together": facts.created - born < np.timedelta64(WITH_THE_USER, "us"),
        "young": facts.instant - facts.created < np.timedelta64(asked.criterion.grace, "us"),
        "password_known": password.notna().to_numpy(bool),
        **plain(keys, "last_used_state", "last_used_problem"),
    }
    cases, case = distinct(rows_of(columns, subject), of_rows(facts.standing, subject))
    return [_undated(asked, subject, case, key_rules.key_at_user_creation(cases, asked.criterion))]


def _inactive_key_retained(facts: Facts, asked: Asked) -> list[Judged]:
    keys = facts.keys
    inactive = np.equal(plain(keys, "key_status")["key_status"], KeyStatus.INACTIVE.value)
    subject = facts.by_key[(inactive & ~flags(keys, "is_root"))[facts.by_key]]
    rows = keys.take(subject)
    observed = instants(rows["inactive_since"])
    since = np.where(np.isnat(observed), facts.instant, observed)  # a snapshot that nobody compared with earlier runs
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(since, facts.instant)
    columns = {
        **_elapsed(since, elapsed, facts.instant),
        "since": whole_days(since - np.datetime64(0, "us")),
        "first": since >= facts.instant,
        **plain(rows, "identity", "identity_problem"),
    }
    cases, case = distinct(columns)
    verdicts = key_rules.inactive_key_retained(cases, _words(limits))
    return [Judged(asked, subject, case, verdicts, elapsed.due, _words(limits), elapsed.choice)]


def _quarantined_key(facts: Facts, asked: Asked) -> list[Judged]:
    keys = facts.keys
    held = keys["quarantined_by"].notna().to_numpy(bool) & ~flags(keys, "is_root")
    subject = facts.by_key[held[facts.by_key]]
    cases, case = distinct(plain(keys.take(subject), "quarantined_by", "key_status"))
    of_keys = _undated(asked, subject, case, key_rules.quarantined_key(cases))
    whole, case = distinct(plain(facts.audited, "quarantine", "quarantine_problem", "quarantine_lost"))
    rows = facts.first[3] + np.arange(len(facts.audited))
    return [of_keys, _undated(asked, rows, case, user_rules.quarantine_of_accounts(whole))]


def _root_access_key(facts: Facts, asked: Asked) -> list[Judged]:
    keys = facts.keys
    subject = facts.by_key[flags(keys, "is_root")[facts.by_key]]
    cases, case = distinct(plain(keys.take(subject), "key_status"))
    of_keys = _undated(asked, subject, case, key_rules.root_keys(cases, asked.criterion))
    accounts = facts.audited
    present, active = accounts["root_keys_present"], accounts["root_keys_active"]
    # none there, or none to be seen
    rows = np.flatnonzero(present.isna() | active.isna() | present.eq(0).fillna(value=False))
    whole, case = distinct(plain(accounts.take(rows), "root_keys_present"))
    verdicts = user_rules.accounts_without_root_key(whole)
    return [of_keys, _undated(asked, facts.first[4] + rows, case, verdicts)]


# ------------------------------------------------------------------------------------------------- credentials


def _service_credential_age(facts: Facts, asked: Asked) -> list[Judged]:
    order, now = facts.by_credential, facts.instant
    rows = facts.credentials.take(order)
    created, expires = instants(rows["created_at"]), instants(rows["expires_at"])
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(created, now)
    columns = {
        **_elapsed(created, elapsed, now),
        **plain(rows, "key_status", "service"),
        "has_expiry": ~np.isnat(expires),
        "expires": np.where(np.isnat(expires), 0, whole_days(expires - np.datetime64(0, "us"))),
        "expired": expires <= now,
        "future": created > now,
    }
    cases, case = distinct(columns)
    verdicts = key_rules.service_credential_age(cases, _words(limits))
    applies = ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(applies, elapsed.due, np.datetime64("NaT"))
    of_each = Judged(asked, facts.first[2] + order, case, verdicts, due_at, _words(limits), elapsed.choice)
    accounts = facts.audited
    without = np.flatnonzero(~accounts["account_id"].isin(set(rows["account_id"])).to_numpy(bool))
    whole, case = distinct(plain(accounts.take(without), "service_credentials", "service_credentials_problem"))
    return [of_each, _undated(asked, facts.first[3] + without, case, user_rules.credentials_of_accounts(whole))]


# ------------------------------------------------------------------------------------------------- users


def _one_active_key(facts: Facts, asked: Asked) -> list[Judged]:
    rows = facts.users.take(facts.by_user)
    since, now = instants(rows["rotation_since"]), facts.instant
    known = ("active_keys", "known_keys", "listing", "listing_failed", "additional_credentials")
    overlaps = is_within(since, asked.criterion.grace, now)
    rotating = overlaps | is_within(since, facts.policy.rotation_overlap, now)
    until = np.add(since, np.timedelta64(asked.criterion.grace, "us"))
    columns = {
        **plain(rows, *known),
        "rotating": rotating,
        "since": np.where(rotating, whole_days(since - np.datetime64(0, "us")), 0),
        "overlaps": overlaps,
        "until": np.where(rotating, whole_days(until - np.datetime64(0, "us")), 0),
    }
    cases, case = distinct(columns)
    verdicts = user_rules.one_active_key(cases, asked.criterion)
    passing = verdicts.are(Outcome.COMPLIANT)[case] & overlaps & (columns["active_keys"] > asked.criterion.most)
    due_at = np.where(passing, until, np.datetime64("NaT"))
    return [Judged(asked, facts.first[1] + facts.by_user, case, verdicts, due_at)]


def _extra_keys(facts: Facts, asked: Asked) -> list[Judged]:
    known = ("known_keys", "listing", "listing_failed", "additional_column", "additional_credentials")
    cases, case = distinct(plain(facts.users.take(facts.by_user), *known))
    return [_undated(asked, facts.first[1] + facts.by_user, case, user_rules.extra_keys(cases))]


def _console_password_unused(facts: Facts, asked: Asked) -> list[Judged]:
    subject = _with_password(facts)
    rows = facts.users.take(subject)
    used, changed = instants(rows["password_last_used_at"]), instants(rows["password_changed_at"])
    start = np.where(np.isnat(used), changed, used)
    limits = facts.limits(asked, rows)
    elapsed = limits.judge(start, facts.instant)
    columns = {
        **_elapsed(start, elapsed, facts.instant),
        "used": ~np.isnat(used),
        "use_unknown": plain(rows, "password_use_unknown")["password_use_unknown"],
        **_password(rows),
    }
    cases, case = distinct(columns)
    verdicts = user_rules.console_password_unused(cases, _words(limits))
    judged = ~verdicts.are(Outcome.UNKNOWN)[case] & ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(judged, elapsed.due, np.datetime64("NaT"))
    return [Judged(asked, facts.first[1] + subject, case, verdicts, due_at, _words(limits), elapsed.choice)]


def _console_mfa(facts: Facts, asked: Asked) -> list[Judged]:
    subject = _with_password(facts)
    rows = facts.users.take(subject)
    cases, case = distinct({"mfa": answers(rows, "mfa_active"), **_password(rows)})
    return [_undated(asked, facts.first[1] + subject, case, user_rules.console_mfa(cases))]


def _with_password(facts: Facts) -> Positions:
    """Users with a console password, or of whom that is not known."""
    found: Positions = facts.by_user[answers(facts.users, "password_enabled")[facts.by_user] != 0]
    return found


def _password(rows: pd.DataFrame) -> Cases:
    return {"has_password": answers(rows, "password_enabled"), **plain(rows, "listing")}


# ------------------------------------------------------------------------------------------------- parts


def _words(limits: Limits) -> tuple[str, ...]:
    return tuple(choice.words for choice in limits.choices)


def _elapsed(start: Instants, elapsed: Elapsed, now: np.datetime64) -> dict[str, npt.NDArray[Any]]:
    """Days since a start and the day of its end, as whole numbers, 0 where there is no start; and what that breaks."""
    missing = np.isnat(start)
    days = {"days": whole_days(now - start).clip(min=0), "due": whole_days(elapsed.due - np.datetime64(0, "us"))}
    found: dict[str, npt.NDArray[Any]] = {name: np.where(missing, 0, number) for name, number in days.items()}
    return found | {
        "broken": elapsed.broken,
        "missing": missing,
        "unsure": elapsed.unsure,
        "choice": elapsed.choice,
    }


def _due(  # noqa: PLR0913, PLR0917 - what was judged, and what came out
    asked: Asked, subject: Positions, case: Positions, verdicts: Verdicts, elapsed: Elapsed, limits: Limits
) -> Judged:
    """Verdicts on all keys, in the order of `subject`; what does not apply is not due."""
    applies = ~verdicts.are(Outcome.NOT_APPLICABLE)[case]
    due_at = np.where(applies, elapsed.due, np.datetime64("NaT"))[subject]
    return Judged(asked, subject, case[subject], verdicts, due_at, _words(limits), elapsed.choice[subject])


def _undated(asked: Asked, subject: Positions, case: Positions, cases: Verdicts) -> Judged:
    """Verdicts that are not due at any time."""
    return Judged(asked, subject, case, cases, np.full(len(subject), "NaT", "datetime64[us]"))


JUDGES: Mapping[ControlId, Callable[[Facts, Asked], list[Judged]]] = {
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
