"""The tables: their columns and dtypes, declared once, and the two containers that carry them.

Account ids are strings, times are UTC with microseconds, and a missing value is always an explicit NA whose meaning
stands in another column: `last_used_state` tells "never" from "unknown", so a bare NaT is never compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pandas.api.extensions import ExtensionArray

from auditor.model import RunManifest

TEXT = "string"
TIME = "datetime64[us, UTC]"
COUNT = "Int64"
FLAG = "boolean"

ACCOUNTS: Mapping[str, str] = {
    "account_id": TEXT,
    "account_name": TEXT,
    "partition": TEXT,
    "state": TEXT,
    "audited": FLAG,
    "source": TEXT,
    "generated_at": TIME,
    "report_sha256": TEXT,
    "users": COUNT,
    "keys": COUNT,
    "root_keys_active": COUNT,  # NA where only the account summary is known
    "root_keys_present": COUNT,  # active or inactive; NA where nothing is known
    "units": TEXT,  # ids of the units above it, the root first, as "r-1/ou-2"; NA where not known
    "unit_names": TEXT,  # their names without the root's, as "/Workloads/Production"; NA where nobody asked
    "quarantine": TEXT,  # "known", "failed"; NA where not asked for
    "quarantine_problem": TEXT,
    "quarantine_lost": TEXT,  # users in quarantine that are not among the users, with commas
    "service_credentials": TEXT,  # the same of these
    "service_credentials_problem": TEXT,
    "not_audited_code": TEXT,
    "not_audited_reason": TEXT,
    "next_step": TEXT,
    "notes": TEXT,  # one a line
}
"""One row per account in scope."""

USERS: Mapping[str, str] = {
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "user_arn": TEXT,
    "is_root": FLAG,
    "created_at": TIME,
    "password_enabled": FLAG,
    "password_last_used_at": TIME,
    "password_use_unknown": TEXT,  # why, where it is not known whether the password was used
    "password_changed_at": TIME,
    "mfa_active": FLAG,
    "active_certificates": COUNT,
    "active_keys": COUNT,
    "known_keys": COUNT,
    "listing": TEXT,  # "report", "live", "failed" or "deleted": where the number of keys comes from
    "listing_failed": TEXT,  # why, where listing is "failed"
    "additional_column": FLAG,  # whether the report can say that there are more than two keys
    "additional_credentials": TEXT,
    "rotation_since": TIME,  # creation of the youngest of several active keys
    "quarantined_by": TEXT,  # names of AWS's quarantine policies, with commas
    "tags": TEXT,  # a JSON object; NA where they were not read
    "tags_problem": TEXT,
    "owner": TEXT,
    "owner_source": TEXT,  # what says so: "tag owner", "description", "rule"
}
"""One row per user of the audited accounts, root included."""

KEYS: Mapping[str, str] = {
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "user_arn": TEXT,
    "is_root": FLAG,
    "slot": COUNT,  # 1 or 2; NA for a key that the credential report does not show
    "access_key_id": TEXT,
    "key_status": TEXT,
    "created_at": TIME,
    "last_used_state": TEXT,  # "used", "never" or "unknown"
    "last_used_at": TIME,  # where the state is "unknown", the last use that is known all the same
    "last_used_service": TEXT,
    "last_used_region": TEXT,
    "last_used_problem": TEXT,
    # "report": as the report says; "live": confirmed by ListAccessKeys; "unknown": could not be; "alike": one of
    # several of the same second and the same status, and which of them is not known
    "identity": TEXT,
    "identity_problem": TEXT,
    "user_created_at": TIME,
    "password_enabled": FLAG,
    "rotation_since": TIME,
    "inactive_since": TIME,  # when this or an earlier run first saw the key inactive, without a break; NA for others
    "quarantined_by": TEXT,
    "owner": TEXT,
    "owner_source": TEXT,
    "description": TEXT,  # the console's description: a user tag whose key is the access key id
}
"""One row per access key, with what is known of it after the live look-ups."""

CREDENTIALS: Mapping[str, str] = {
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "user_arn": TEXT,
    "credential_id": TEXT,
    "service": TEXT,
    "key_status": TEXT,
    "created_at": TIME,
    "expires_at": TIME,
    "owner": TEXT,
    "owner_source": TEXT,
}
"""One row per service-specific credential of the accounts that were asked for them."""

FINDINGS: Mapping[str, str] = {
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "user_arn": TEXT,
    "slot": COUNT,
    "access_key_id": TEXT,
    "key_status": TEXT,
    "created_at": TIME,
    "age_days": COUNT,
    "last_used_state": TEXT,
    "last_used_at": TIME,
    "last_used_service": TEXT,
    "last_used_region": TEXT,
    "control": TEXT,
    "severity": TEXT,
    "outcome": TEXT,
    "reason": TEXT,
    "due_at": TIME,
    "owner": TEXT,
    "description": TEXT,
    "owner_source": TEXT,
    "by_policy": FLAG,  # whether the company's own policy judges so; else a framework alone does
    "limit": TEXT,  # what fails, such as "more than 90 days", and the rule that says so, if any
    "frameworks": TEXT,  # clauses that this verdict speaks for, as "cis-aws-5.0 1.13", one a line
    "exemption": TEXT,  # id
    "rotation_since": TIME,
    "credential_id": TEXT,  # of a service-specific credential
    "service": TEXT,
}
"""One row per verdict: one control judged by one criterion on one key, service-specific credential, or user (no slot,
no created_at)."""


ACTIONS: Mapping[str, str] = {
    "at": TIME,
    "action": TEXT,  # "created", "discarded", "published", "deactivated", "reactivated", "restored", "deleted"
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "access_key_id": TEXT,  # the key that it was done to; of "published" the new one
    "old_key_id": TEXT,  # the key that the item is about
    "owner": TEXT,
    "basis": TEXT,  # findings that it rests on, one a line
    "detail": TEXT,
    "evidence": TEXT,  # what showed that it could be done: who has been seen with the new key, who confirmed it
    "plan_id": TEXT,
    "plan_sha256": TEXT,
    "item_id": TEXT,
    "approved_by": TEXT,  # one a line; NA where no approval is needed
    "done_by": TEXT,  # an ARN
    "intent": TEXT,  # in the User-Agent of the call, by which CloudTrail finds it
    "journal_row": COUNT,
    "journal_hash": TEXT,
}
"""One row per change that auditor made to an access key, or to which one applications read, in the order of doing."""

PENDING: Mapping[str, str] = {
    "item_id": TEXT,
    "plan_id": TEXT,
    "account_id": TEXT,
    "account_name": TEXT,
    "user": TEXT,
    "access_key_id": TEXT,
    "new_key_id": TEXT,
    "owner": TEXT,
    "through": TEXT,  # the last step that is planned
    "approved": TEXT,  # the last step that is approved
    "state": TEXT,
    "waits_for": TEXT,
    "since": TIME,
    "until": TIME,
    "who": TEXT,  # must act
    "needs_person": FLAG,
    "failed": TEXT,  # why the last step that was tried did not come off
}
"""One row per planned change that was not at its end."""


AT_ONCE = 5_000
"""Rows that are plain Python values at the same time."""

JUDGED = ("account_id", "user", "user_arn", "slot", "access_key_id", "credential_id", "created_at")
"""The columns of `FINDINGS` that tell what is judged: a key, a service-specific credential, a user or an account."""


def table(columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Rows of plain Python values, in the order of `columns`, as a table of the declared dtypes."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pd.DataFrame(
        {name: pd.Series(column, dtype=dtype) for (name, dtype), column in zip(columns.items(), values, strict=True)}
    )


def texts(values: Any) -> ExtensionArray:
    """A sequence or an array of texts, None for what is missing, as a column of a table holds them."""
    return pd.Series(values, dtype=TEXT).array


def plain_texts(column: "pd.Series[str]") -> Any:
    """A column of texts as an array of plain ones, None for what is missing."""
    return column.astype(object).where(column.notna(), None).to_numpy(object)


def records_of(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows as plain Python values by column, None for what is missing; some at a time, as plain ones take memory."""
    columns = list(frame.columns)
    for start in range(0, len(frame), AT_ONCE):
        rows = frame.iloc[start : start + AT_ONCE]
        plain = (rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in columns)
        for values in zip(*plain, strict=True):
            yield {
                name: value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
                for name, value in zip(columns, values, strict=True)
            }


def table_of(columns: Mapping[str, str], values: Mapping[str, Any], rows: int) -> pd.DataFrame:
    """Arrays, or a value that holds for all rows, as a table of the declared dtypes; NA where there is neither."""
    index = pd.RangeIndex(rows)
    series = {name: pd.Series(values.get(name, pd.NA), index, dtype) for name, dtype in columns.items()}
    return pd.DataFrame(series, copy=False)


def conform(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The same table with exactly the declared columns in the declared order and dtypes; raises KeyError if short."""
    return pd.DataFrame({name: frame[name].astype(dtype) for name, dtype in columns.items()})  # type: ignore[call-overload]


@dataclass(frozen=True)
class Snapshot:
    """All facts of a run as tables, before anything is judged: `ACCOUNTS`, `USERS`, `KEYS` and `CREDENTIALS`."""

    accounts: pd.DataFrame
    users: pd.DataFrame
    keys: pd.DataFrame
    credentials: pd.DataFrame


VERDICTS: Mapping[str, str] = {"account_id": TEXT, "outcome": TEXT, "verdicts": COUNT}
"""One row per account and outcome: how many verdicts of the policy there are."""

AGES: Mapping[str, str] = {"age_days": COUNT, "keys": COUNT}
"""One row per age in whole days: how many active keys are that old."""


FORECAST: Mapping[str, str] = {"owner": TEXT, "control": TEXT, "within": COUNT, "verdicts": COUNT}
"""One row per owner, control and first of `HORIZONS` within which so many verdicts that do not fail now fall due."""

HORIZONS = (30, 60, 90)
"""Days ahead."""


@dataclass(frozen=True)
class Run:
    """A finished run as reports need it, which does not grow with what complies.

    `accounts` is `ACCOUNTS`; `findings` (`FINDINGS`) are the verdicts that are not compliant or not applicable, and
    the compliant ones that fall due within the policy's warning window; `verdicts` and `ages` count the rest.
    `forecast` (`FORECAST`) counts what falls due within the horizons; `upcoming` (`FINDINGS`) has the soonest of it.
    `actions` (`ACTIONS`) and `pending` (`PENDING`) tell of remediation, as its journal did at the run's instant.
    """

    manifest: RunManifest
    accounts: pd.DataFrame
    findings: pd.DataFrame
    verdicts: pd.DataFrame
    ages: pd.DataFrame
    forecast: pd.DataFrame
    upcoming: pd.DataFrame
    actions: pd.DataFrame = field(default_factory=lambda: table(ACTIONS, ()))
    pending: pd.DataFrame = field(default_factory=lambda: table(PENDING, ()))
