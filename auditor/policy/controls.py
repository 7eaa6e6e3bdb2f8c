"""The controls: what each asks, why, and what to do about a violation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

from auditor.model import ControlId, Policy


@dataclass(frozen=True, slots=True)
class Control:
    """A requirement with its title, rationale and remedy in words for a report; `source` is where it comes from."""

    id: ControlId
    title: str
    rationale: str
    remedy: str
    source: str


CONTROLS: Mapping[ControlId, Control] = MappingProxyType(
    {
        control.id: control
        for control in (
            Control(
                ControlId.ROOT_ACCESS_KEY,
                "No root access key",
                "A root access key can do everything in the account and cannot be limited by an IAM policy.",
                "Move what uses it to a role, deactivate the key, watch for failures, then delete it.",
                "CIS AWS Foundations 1.4 (v1.4.0 to v3.0.0); AWS Security Hub IAM.4",
            ),
            Control(
                ControlId.KEY_AGE,
                "Access keys are rotated",
                "The longer a key lives, the more copies of it exist, and the longer a stolen one works.",
                "Replace the key by a role or by federation; where that cannot be, rotate it: create a second key, "
                "move the application, deactivate the old one, wait, delete it.",
                "CIS AWS Foundations 1.14 (v1.4.0 to v4.0.1); AWS Config access-keys-rotated",
            ),
            Control(
                ControlId.KEY_UNUSED,
                "Unused access keys are deactivated",
                "A key that nobody uses does nobody any good and still opens the account to whoever finds it.",
                "Ask the owner, deactivate the key, wait a full business cycle, then delete it.",
                "CIS AWS Foundations 1.12 (v1.4.0 to v4.0.1); AWS Security Hub IAM.22",
            ),
            Control(
                ControlId.ONE_ACTIVE_KEY,
                "One active access key per user",
                "Two active keys are meant for the days of a rotation; left so, each doubles what can leak.",
                "Finish the rotation: see which key is in use and deactivate the other one.",
                "CIS AWS Foundations 1.13 (v1.4.0 to v4.0.1)",
            ),
            Control(
                ControlId.EXTRA_KEYS,
                "No more than two access keys per user",
                "AWS allows two keys for a user. Racing calls can leave more, which the credential report only counts.",
                "List the user's keys, find what uses each, deactivate and then delete those that nothing uses.",
                "AWS IAM quotas: access keys assigned to an IAM user",
            ),
        )
    }
)
"""Every control that is judged, the gravest first."""


def describe_rule(control: ControlId, policy: Policy) -> str:
    """The control's test with this policy's numbers, as one sentence for the method section and the reasons."""
    match control:
        case ControlId.KEY_AGE:
            return f"An active key of an IAM user fails when it is {policy.key_age} old."
        case ControlId.KEY_UNUSED:
            return (
                f"An active key of an IAM user fails when it has not been used for {policy.key_unused}; "
                "one that was never used is measured from its creation."
            )
        case ControlId.ROOT_ACCESS_KEY:
            kinds = "active or inactive" if policy.inactive_root_key_fails else "active"
            return f"An {kinds} access key of the root user fails."
        case ControlId.ONE_ACTIVE_KEY:
            keys = "key" if policy.max_active_keys == 1 else "keys"
            return f"A user fails with more than {policy.max_active_keys} active {keys}."
        case ControlId.EXTRA_KEYS:
            return "A user fails with more than two access keys, active or not."
    assert_never(control)
