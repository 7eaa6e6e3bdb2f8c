"""Which users deserve a live look-up: those about to be flagged, or due within the warning window."""

from datetime import datetime

from auditor.model import CredentialReport, KeyStatus, Policy, ReportKey, ReportUser, UsedAt
from auditor.policy.limits import is_broken

SLOTS = 2
"""Keys that a credential report can show per user."""


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
    horizon = as_of + policy.warning_window

    def deserves(user: ReportUser) -> bool:
        if user.is_root or not (user.keys or user.additional_credentials):
            return False
        active = sum(key.status is KeyStatus.ACTIVE for key in user.keys)
        return (
            every_key
            or user.additional_credentials is not None
            or (len(user.keys) == SLOTS and not report.has_additional_column)
            or active > policy.max_active_keys
            or any(is_due(key, policy, horizon) for key in user.keys)
        )

    return tuple(user.name for user in report.users if deserves(user))


def is_due(key: ReportKey, policy: Policy, horizon: datetime) -> bool:
    """Whether an active key fails age or use at `horizon`, as far as the report knows; without a date it may."""
    if key.status is not KeyStatus.ACTIVE:
        return False
    if key.created_at is None:
        return True
    last_activity = key.last_used.at if isinstance(key.last_used, UsedAt) else key.created_at
    return is_broken(policy.key_age, key.created_at, horizon) or is_broken(policy.key_unused, last_activity, horizon)
