"""Which users deserve a live look-up: those about to be flagged, or due within the warning window."""

from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import Account, ControlId, CredentialReport, Policy
from auditor.policy.criteria import Asked, criteria
from auditor.policy.judges import WITH_THE_USER
from auditor.policy.limits import instant, limits_for
from auditor.policy.scopes import Place, Subjects, Tags
from auditor.report_columns import SLOTS, Flags, ReportColumns


def users_to_look_up(  # noqa: PLR0913 - what is judged, by what, and who else
    report: CredentialReport,
    policy: Policy,
    as_of: datetime,
    *,
    account: Account | None = None,
    every_key: bool = False,
    also: Collection[str] = (),
) -> tuple[str, ...]:
    """Names of the users, in the report's order, whose keys and tags must be read before they are judged.

    Chosen are users with a key that fails a limit on the report's word, or will within the policy's warning window;
    with more active keys than allowed; or with both slots taken where the report cannot say that there are more; and
    users whose console password fails, or will, for who owns it stands in their tags. Where a limit goes by tags, which
    the report does not have, the strictest that may hold counts. The root user is never among them: its keys cannot be
    listed as a user's.

    Args:
        report: the account's credential report.
        policy: limits, frameworks and the warning window.
        as_of: the instant of judgement.
        account: the account, with its place in the organisation, for limits that go by it.
        every_key: look up every user that has a key (`key_ids = "all"`).
        also: users to look up for other reasons, where the report has them.
    """
    users = ReportColumns.of(report.users)
    keys = users.has_key.sum(axis=1)
    active = users.has_key & users.key_active
    flagged: Flags = pd.Series(users.name, dtype=object).isin(list(also)).to_numpy(np.bool_, copy=True)
    flagged |= pd.notna(users.additional)
    subjects = _subjects(users, report, account)
    horizon = instant(as_of + policy.warning_window)
    for asked in criteria(policy):
        flagged |= _flags(asked, users, active, policy, subjects, horizon)
    if every_key:
        flagged |= keys > 0
    elif not report.has_additional_column:
        flagged |= keys == SLOTS
    return tuple(users.name[flagged & ~users.is_root])


def _flags(  # noqa: PLR0913, PLR0917 - the report's columns, and what they are held against
    asked: Asked, users: ReportColumns, active: Flags, policy: Policy, subjects: Subjects, horizon: np.datetime64
) -> Flags:
    """Whom this criterion flags, or will at `horizon`, as far as the report knows; without a creation date it may."""
    created, used = users.key_created_at, users.key_used_at
    due: Flags
    match asked.control:
        case ControlId.KEY_AGE:
            due = np.isnat(created) | _is_due(asked, created, policy, subjects, horizon)
        case ControlId.KEY_UNUSED:
            last_activity = np.where(np.isnat(used), created, used)
            due = np.isnat(created) | _is_due(asked, last_activity, policy, subjects, horizon)
        case ControlId.KEY_AT_USER_CREATION:
            since_user = created - users.created_at[:, np.newaxis]
            judged: Flags = np.isnat(used) & np.equal(users.password_enabled, 1)[:, np.newaxis]
            together: Flags = since_user < np.timedelta64(WITH_THE_USER, "us")
            due = judged if asked.criterion.strict else judged & together
        case ControlId.ONE_ACTIVE_KEY:
            several: Flags = active.sum(axis=1) > asked.criterion.most
            return several
        case ControlId.CONSOLE_PASSWORD_UNUSED:
            start = np.where(np.isnat(users.password_used_at), users.password_changed_at, users.password_used_at)
            return (
                _has_password(users)
                & limits_for(policy, asked, len(start), lambda: subjects).judge(start, horizon).broken
            )
        case ControlId.CONSOLE_MFA:
            return _has_password(users) & np.equal(users.mfa_active, 0)
        case _:
            return np.zeros(len(users), np.bool_)
    flagged: Flags = np.logical_or.reduce(active & due, axis=1)
    return flagged


def _is_due(
    asked: Asked, start: npt.NDArray[np.datetime64], policy: Policy, subjects: Subjects, horizon: np.datetime64
) -> Flags:
    """Which keys break the limit at `horizon`, a column for each slot."""
    limits = limits_for(policy, asked, len(start), lambda: subjects)
    return np.column_stack([limits.judge(start[:, slot], horizon).broken for slot in range(SLOTS)])


def _has_password(users: ReportColumns) -> Flags:
    return np.equal(users.password_enabled, 1)


def _subjects(users: ReportColumns, report: CredentialReport, account: Account | None) -> Subjects:
    """The report's users as scopes ask of them: nothing is known of their tags yet."""
    unread: Sequence[Tags | None] = [None] * len(users)
    place = Place(account.units, account.unit_names) if account else Place()
    return Subjects(
        account=np.full(len(users), report.account_id, np.object_),
        user=users.name,
        arn=users.arn,
        is_root=users.is_root,
        human=lambda: users.password_enabled,
        tags=lambda: unread,
        places={report.account_id: place},
    )
