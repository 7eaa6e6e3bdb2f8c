"""Which users deserve a live look-up: those about to be flagged, or due within the warning window."""

from datetime import datetime

import numpy as np
import pandas as pd

from auditor.model import CredentialReport, Policy
from auditor.policy.limits import instant, is_broken
from auditor.report_columns import SLOTS, Flags, ReportColumns


def users_to_look_up(
    report: CredentialReport, policy: Policy, as_of: datetime, *, every_key: bool = False
) -> tuple[str, ...]:
    """Names of the users, in the report's order, whose keys must be listed before they are judged.

    Chosen are users with a key that fails a limit on the report's word, or will within the policy's warning window;
    with more active keys than allowed; or with both slots taken where the report cannot say that there are more.
    The root user is never among them: its keys cannot be listed from outside.

    Args:
        report: the account's credential report.
        policy: limits and the warning window.
        as_of: the instant of judgement.
        every_key: look up every user that has a key (`key_ids = "all"`).
    """
    users = ReportColumns.of(report.users)
    keys = users.has_key.sum(axis=1)
    active = users.has_key & users.key_active
    told_of_more = pd.notna(users.additional)
    flagged = told_of_more | (active.sum(axis=1) > policy.max_active_keys)
    flagged |= (active & _is_due(users, policy, instant(as_of + policy.warning_window))).any(axis=1)
    if every_key:
        flagged |= keys > 0
    elif not report.has_additional_column:
        flagged |= keys == SLOTS
    return tuple(users.name[flagged & ~users.is_root])


def _is_due(users: ReportColumns, policy: Policy, horizon: np.datetime64) -> Flags:
    """Which keys fail age or use at `horizon`, as far as the report knows; without a creation date a key may."""
    created, used = users.key_created_at, users.key_used_at
    last_activity = np.where(np.isnat(used), created, used)
    broken = is_broken(policy.key_age, created, horizon) | is_broken(policy.key_unused, last_activity, horizon)
    return np.isnat(created) | broken
