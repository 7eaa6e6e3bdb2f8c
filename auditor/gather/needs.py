"""What a policy needs to be asked of AWS, beside reports and keys. Pure."""

from auditor.aws.permissions import READING
from auditor.model import ControlId, Policy
from auditor.policy import asks

NEEDED_FOR = {
    "iam:ListPolicies": ControlId.QUARANTINED_KEY,
    "iam:ListEntitiesForPolicy": ControlId.QUARANTINED_KEY,
    "iam:ListServiceSpecificCredentials": ControlId.SERVICE_CREDENTIAL_AGE,
}
"""Actions that serve a single control."""


def needed_actions(policy: Policy) -> frozenset[str]:
    """Of the actions that the read role is allowed, those without which an audit by this policy is incomplete."""
    return frozenset(
        permission.action
        for permission in READING
        if permission.action not in NEEDED_FOR or asks(policy, NEEDED_FOR[permission.action])
    )


def policy_units(policy: Policy) -> tuple[str, ...]:
    """The organisational units that the policy names, once each: ids, and paths of names that begin with a slash."""
    scopes = [rule.scope for rules in (policy.limits, policy.exemptions, policy.owner_rules) for rule in rules]
    return tuple(dict.fromkeys(unit for scope in scopes for unit in scope.units))
