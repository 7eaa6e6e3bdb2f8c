"""The controls: what each asks, why, how grave it is, and what to do about a violation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import assert_never

from auditor.model import ControlId, Criterion, Policy
from auditor.policy.criteria import own_criterion


@dataclass(frozen=True, slots=True)
class Control:
    """A requirement in words for a report: none can be judged without its why, its remedy and its documentation."""

    id: ControlId
    title: str
    subject: str
    """What is judged, one verdict each."""
    rationale: str
    gravity: str
    """Why its severity is by default what it is."""
    remedy: str
    """What to do, the way without a key first."""
    source: str
    """Where the control comes from; the editions' own numbers stand with the frameworks."""
    documentation: str
    """Where AWS says more."""


_IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide"

CONTROLS: Mapping[ControlId, Control] = MappingProxyType(
    {
        control.id: control
        for control in (
            Control(
                ControlId.QUARANTINED_KEY,
                "No key that AWS found exposed",
                "a key of a user that AWS put in quarantine; and whether the account could be asked",
                "AWS attaches a quarantine policy to a user when it finds one of its keys in public. Whoever found the "
                "key as well can still do all that the policy does not deny.",
                "Critical: the key is known to be public.",
                "Deactivate the key now and open an incident: find out from CloudTrail what was done with it. Give the "
                "application a role, IAM Roles Anywhere or OIDC federation instead. Never rotate the key: a new one "
                "of the same user is crippled by the same policy, and the leak is still there.",
                "AWS managed policies AWSCompromisedKeyQuarantine, V2 and V3",
                "https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html",
            ),
            Control(
                ControlId.ROOT_ACCESS_KEY,
                "No root access key",
                "a key of the root user, or the account where it has none",
                "A root access key can do everything in the account and cannot be limited by an IAM policy.",
                "Critical: nothing in the account limits it.",
                "Move what uses it to a role, deactivate the key, watch for failures, then delete it. In an "
                "organisation, central root access removes root credentials from member accounts altogether.",
                "CIS AWS Foundations, no root access key; AWS Security Hub IAM.4",
                f"{_IAM}/root-user-best-practices.html",
            ),
            Control(
                ControlId.KEY_AGE,
                "Access keys are rotated",
                "a key of an IAM user",
                "The longer a key lives, the more copies of it exist, and the longer a stolen one works.",
                "High: a stolen key works until it is replaced.",
                "Do without the key: people sign in through IAM Identity Center; what runs in AWS takes a role, what "
                "runs elsewhere IAM Roles Anywhere or OIDC federation. Where that cannot be, rotate it: create a "
                "second key, move the application, watch the old one's last use, deactivate it, wait, delete it.",
                "CIS AWS Foundations, access keys are rotated; AWS Config access-keys-rotated",
                f"{_IAM}/id-credentials-access-keys-update.html",
            ),
            Control(
                ControlId.KEY_UNUSED,
                "Unused access keys are deactivated",
                "a key of an IAM user",
                "A key that nobody uses does nobody any good and still opens the account to whoever finds it.",
                "Medium: it opens the account, but nothing uses it, so it is easily closed.",
                "Ask the owner, deactivate the key, wait a full business cycle, then delete it. Should the work come "
                "back, give it a role or federation, not a key.",
                "CIS AWS Foundations, unused credentials are disabled; AWS Security Hub IAM.8, IAM.22",
                f"{_IAM}/best-practices.html#remove-credentials",
            ),
            Control(
                ControlId.ONE_ACTIVE_KEY,
                "One active access key per user",
                "an IAM user",
                "Two active keys are meant for the days of a rotation; left so, each doubles what can leak.",
                "Low: untidy, and the start of worse.",
                "Finish the rotation: see which key is in use and deactivate the other one.",
                "CIS AWS Foundations, one active key per user (up to v6.0.0)",
                f"{_IAM}/id-credentials-access-keys-update.html",
            ),
            Control(
                ControlId.EXTRA_KEYS,
                "No more than two access keys per user",
                "an IAM user",
                "AWS allows two keys for a user. Racing calls can leave more, which the credential report only counts.",
                "High: keys that no report shows are keys that nobody watches.",
                "List the user's keys, find what uses each, deactivate and then delete those that nothing uses.",
                "AWS IAM quotas: access keys assigned to an IAM user",
                f"{_IAM}/reference_iam-quotas.html",
            ),
            Control(
                ControlId.KEY_AT_USER_CREATION,
                "No access key from a user's creation",
                "an active key of an IAM user with a console password",
                "A key that was made along with a person's user, and never used, was made by habit; it lies about.",
                "Low: such keys are rarely powerful, but many.",
                "Delete the key. People sign in through IAM Identity Center and get temporary credentials for the "
                "command line from there; a key is made when somebody shows the need for one.",
                "CIS AWS Foundations, no access key at initial setup (up to v6.0.0)",
                f"{_IAM}/best-practices.html",
            ),
            Control(
                ControlId.INACTIVE_KEY_RETAINED,
                "Inactive access keys are deleted",
                "an inactive key of an IAM user",
                "An inactive key can be made active again by anybody who may update keys, with the secret that old "
                "copies still hold, and it takes one of the two places that a rotation needs.",
                "Low: it does not work as long as nobody makes it active.",
                "When nothing has missed it for a full business cycle, delete it.",
                "AWS IAM User Guide, deactivate and then delete; CIS AWS Foundations, remediation of unused keys",
                f"{_IAM}/id-credentials-access-keys-update.html",
            ),
            Control(
                ControlId.SERVICE_CREDENTIAL_AGE,
                "Service-specific credentials are rotated",
                "a service-specific credential; or the account where it has none or could not be asked",
                "Long-term API keys (Amazon Bedrock, CloudWatch Logs) and the passwords of CodeCommit and Amazon "
                "Keyspaces open a service as a key does, and stand in no credential report.",
                "Medium: each opens one service only.",
                "Use temporary credentials of a role: short-term API keys of Bedrock, git-remote-codecommit, the "
                "SigV4 plug-ins of Keyspaces. Else make a new credential with an expiry, move the application, "
                "deactivate the old one, and delete it.",
                "AWS IAM User Guide, API keys for AWS services",
                f"{_IAM}/id_credentials_api_keys_for_aws_services.html",
            ),
            Control(
                ControlId.CONSOLE_PASSWORD_UNUSED,
                "Unused console passwords are removed",
                "an IAM user with a console password",
                "A password that nobody uses is one that nobody misses when it is guessed.",
                "Medium: as an unused key.",
                "Move people to IAM Identity Center and delete the login profile; the user's keys are judged apart.",
                "CIS AWS Foundations, unused credentials are disabled; AWS Security Hub IAM.8, IAM.22",
                f"{_IAM}/id_credentials_passwords_admin-change-user.html",
            ),
            Control(
                ControlId.CONSOLE_MFA,
                "Console users have MFA",
                "an IAM user with a console password",
                "A password alone opens the console to whoever has it.",
                "High: passwords are phished every day.",
                "Move people to IAM Identity Center, which asks for MFA; else register a passkey or a security key.",
                "CIS AWS Foundations, MFA for all users with a console password; AWS Security Hub IAM.5",
                f"{_IAM}/id_credentials_mfa.html",
            ),
        )
    }
)
"""Every control that is judged, the gravest first."""


def describe_rule(control: ControlId, policy: Policy) -> str:
    """The control's test with this policy's numbers, in a sentence or two for the method section and the reasons."""
    rules = sorted(rule.id for rule in policy.limits if rule.control is control)
    beside = f" Other limits hold by rule: {', '.join(rules)}." if rules else ""
    return describe(own_criterion(policy, control)) + beside


def describe(criterion: Criterion) -> str:  # noqa: C901, PLR0911 - a sentence for each control
    """A criterion's exact test, as one sentence."""
    limit = criterion.limit
    match criterion.control:
        case ControlId.KEY_AGE:
            return f"An active key of an IAM user fails when it is {limit} old."
        case ControlId.KEY_UNUSED:
            return (
                f"An active key of an IAM user fails when it has not been used for {limit}; "
                "one that was never used is measured from its creation."
            )
        case ControlId.ROOT_ACCESS_KEY:
            return f"An {'active or inactive' if criterion.strict else 'active'} access key of the root user fails."
        case ControlId.ONE_ACTIVE_KEY:
            keys = "key" if criterion.most == 1 else "keys"
            grace = f", unless the newest is younger than {_in_days(criterion.grace)}" if criterion.grace else ""
            return f"A user fails with more than {criterion.most} active {keys}{grace}."
        case ControlId.EXTRA_KEYS:
            return "A user fails with more than two access keys, active or not."
        case ControlId.KEY_AT_USER_CREATION:
            when = "" if criterion.strict else " and was created within ten minutes of the user"
            return f"An active key of a user with a console password fails when it has no use on record{when}."
        case ControlId.INACTIVE_KEY_RETAINED:
            return (
                f"An inactive key fails when it has been seen inactive for {limit}, counted from the first run that "
                "saw it so without a break: IAM keeps no date of deactivation."
            )
        case ControlId.QUARANTINED_KEY:
            return "Every key fails whose user has a policy AWSCompromisedKeyQuarantine, of any version, attached."
        case ControlId.SERVICE_CREDENTIAL_AGE:
            return f"An active service-specific credential that has not expired fails when it is {limit} old."
        case ControlId.CONSOLE_PASSWORD_UNUSED:
            return (
                f"A console password fails when it has not been used for {limit}; "
                "one that was never used is measured from its last change."
            )
        case ControlId.CONSOLE_MFA:
            return "A user with a console password and without an MFA device fails."
    assert_never(criterion.control)


def _in_days(duration: timedelta) -> str:
    return f"{duration / timedelta(days=1):g} days"
