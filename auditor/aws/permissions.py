"""Every permission that an audit uses, once: the policies are made from this list, and `auditor doctor` tries it.

Actions are named as `Caller.counts` names operations. Which resource an action is authorised on is from AWS's Service
Authorization Reference: of these, the per-user ones know a resource type (`user*`), ListEntitiesForPolicy (`policy*`),
AssumeRole (`role*`) and AssumeRoot (`root-user*`).
GetCallerIdentity is not here, since it needs no permission.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

POLICY_VERSION = "2012-10-17"
"""The policy language's version, not a date of ours (AWS: IAM JSON policy elements, Version)."""

SHORTEST_LIMIT = 3600
"""The least that a role's MaxSessionDuration can be, in seconds (AWS IAM API reference, CreateRole)."""

SHORTEST_EXTERNAL_ID = 2
"""Characters (AWS STS API reference, AssumeRole)."""

ASSUME_ROLE = "sts:AssumeRole"
ASSUME_ROOT = "sts:AssumeRoot"
AUDIT_TASK = "iam::aws:policy/root-task/IAMAuditRootUserCredentials"
"""What a session of AssumeRoot may do: read the root user's credentials (AWS managed policy, after its partition)."""

LIST_ACCOUNTS = "organizations:ListAccounts"
FIND_UNITS = (
    "organizations:ListRoots",
    "organizations:ListOrganizationalUnitsForParent",
    "organizations:ListAccountsForParent",
)
LIST_TAGS = "organizations:ListTagsForResource"


@dataclass(frozen=True, slots=True)
class Permission:
    """An action, the statement it stands in, and what it is needed for."""

    action: str
    sid: str
    needed: str


QUARANTINE_POLICY = "AWSCompromisedKeyQuarantine"
"""How the names of the policies begin that AWS attaches to a user whose key it found in public; three of them so far,
with V2 and V3 at the end (AWS managed policy reference)."""

ACCOUNT_LEVEL, PER_USER, QUARANTINE = "AccountLevel", "PerUser", "Quarantine"

READING = (
    Permission("iam:GenerateCredentialReport", ACCOUNT_LEVEL, "has the credential report made"),
    Permission("iam:GetCredentialReport", ACCOUNT_LEVEL, "reads the credential report"),
    Permission("iam:GetAccountSummary", ACCOUNT_LEVEL, "tells of root keys where the report has no root row"),
    Permission("iam:ListUsers", ACCOUNT_LEVEL, "lists users where AWS makes no report, and finds renamed ones"),
    Permission("iam:ListPolicies", ACCOUNT_LEVEL, "tells whether AWS put a user in quarantine"),
    Permission("iam:ListAccessKeys", PER_USER, "looks up the keys that are about to be flagged"),
    Permission("iam:GetAccessKeyLastUsed", PER_USER, "looks up when such a key was last used"),
    Permission("iam:ListUserTags", PER_USER, "names a key's owner and description"),
    Permission(
        "iam:ListServiceSpecificCredentials", PER_USER, "lists long-term keys of Bedrock, CodeCommit and others"
    ),
    Permission("iam:ListEntitiesForPolicy", QUARANTINE, "names the users in quarantine"),
)
"""What is needed in every account: by the role there, or by the caller in an account that is entered without one."""


REMEDIATING: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "remediate": (
        (
            "ReadUsers",
            (
                *("iam:GetUser", "iam:ListAccessKeys", "iam:ListAttachedUserPolicies", "iam:ListGroupsForUser"),
                "iam:ListUserTags",
            ),
        ),
        ("ReadLastUse", ("iam:GetAccessKeyLastUsed",)),
        ("ReadTrail", ("cloudtrail:LookupEvents",)),
    ),
    "rotate": (
        ("MakeKeys", ("iam:CreateAccessKey",)),
        ("KeepSecrets", ()),
    ),
    "retire": (("RetireKeys", ("iam:UpdateAccessKey", "iam:DeleteAccessKey")),),
    "rollback": (("SwitchOn", ("iam:UpdateAccessKey",)),),
}
"""What each task of remediation needs in every account: reading users live, making keys and keeping their secrets,
switching keys off and on and deleting them, and switching them on alone."""


KEEPING: Mapping[str, tuple[Sequence[str], str]] = {
    "secretsmanager": (
        (
            "secretsmanager:CreateSecret",
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ),
        "secretsmanager:*:*:secret:",
    ),
    "ssm": (
        ("ssm:GetParameter", "ssm:GetParameterHistory", "ssm:LabelParameterVersion", "ssm:PutParameter"),
        "ssm:*:*:parameter/",
    ),
}
"""What keeping secrets in a store needs, and how the ARNs of its secrets begin after the partition."""


SEALING: Mapping[str, tuple[str, ...]] = {
    "secretsmanager": ("kms:Decrypt", "kms:GenerateDataKey"),
    "ssm": ("kms:Decrypt", "kms:Encrypt"),
}
"""What keeping a secret under a key of one's own needs, by the store (Secrets Manager user guide, secret encryption;
AWS KMS developer guide, how Parameter Store uses AWS KMS: it encrypts standard parameters by the key itself)."""


def remediation_policy(
    partition: str, task: str, store: str, secrets: str, kms_key: str | None = None
) -> dict[str, Any]:
    """The policy of a role for a task of `REMEDIATING`.

    Args:
        partition: such as "aws".
        task: the task.
        store: where secrets are kept.
        secrets: how their names begin.
        kms_key: the key of KMS that they are kept under; None for AWS's own.
    """
    keeping, begin = KEEPING[store]
    users = f"arn:{partition}:iam::*:user/*"
    resources = {
        "ReadTrail": "*",
        "KeepSecrets": f"arn:{partition}:{begin}{secrets.removeprefix('/')}*",
    }
    found = [_statement(sid, list(actions or keeping), resources.get(sid, users)) for sid, actions in REMEDIATING[task]]
    if task == "rotate" and kms_key is not None:
        is_alias = kms_key.startswith("alias/")  # which no policy can name
        arn = kms_key if kms_key.startswith("arn:") else f"arn:{partition}:kms:*:*:key/{'*' if is_alias else kms_key}"
        found.append(_statement("SealSecrets", SEALING[store], arn))
    return _document(found)


SHARING = (
    *("dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"),
)
"""What keeping the journal in a table needs."""


def journal_policy(partition: str, table: str) -> dict[str, Any]:
    """The policy of who keeps the journal in a table, which is named, or given as an ARN."""
    arn = table if table.startswith("arn:") else f"arn:{partition}:dynamodb:*:*:table/{table}"
    return _document([_statement("KeepJournal", SHARING, arn)])


def notify_policy(partition: str, sender: str | None, topic_arn: str | None) -> dict[str, Any]:
    """The policy of who tells people by e-mail and by a topic, as far as either is configured."""
    statements = []
    if sender:
        domain = sender.rpartition("@")[2]
        identities = [f"arn:{partition}:ses:*:*:identity/{name}" for name in dict.fromkeys((sender, domain))]
        statements.append(_statement("SendMail", ["ses:SendEmail"], identities))
    if topic_arn:
        statements.append(_statement("Publish", ["sns:Publish"], topic_arn))
    return _document(statements)


OWN_KEYS = (
    *("iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:GetAccessKeyLastUsed", "iam:GetUser", "iam:ListAccessKeys"),
    "iam:UpdateAccessKey",
)
"""What a user needs to rotate its own keys."""


def own_keys_policy(partition: str, *, with_groups: bool = False) -> dict[str, Any]:
    """The policy of users who rotate their own keys; with what reads their groups, where some of those are protected.

    The version matters: in one without it, or of 2008, ${aws:username} is no variable, and means nobody (IAM user
    guide, policy variables; "Allows IAM users to manage their own access keys").
    """
    own = f"arn:{partition}:iam::*:user/${{aws:username}}"
    actions = (*OWN_KEYS, "iam:ListGroupsForUser") if with_groups else OWN_KEYS
    return _document([_statement("OwnKeys", actions, own)])


def read_policy(partition: str) -> dict[str, Any]:
    """The read role's policy, as a document of IAM's."""
    return _document(_read_statements(partition))


def caller_policy(
    partition: str,
    roles: Iterable[str],
    *,
    organisation: Sequence[str],
    reads_itself: bool,
    enters_as_root: bool = False,
) -> dict[str, Any]:
    """What the auditing principal needs.

    Args:
        partition: such as "aws".
        roles: names of the roles that it assumes, each in any account: whom a role lets in is the role's to say.
        organisation: the actions of AWS Organizations that find the accounts; none where they come from elsewhere.
        reads_itself: whether an account is entered without a role, as the caller's own is.
        enters_as_root: whether the root users' keys are looked up by sts:AssumeRoot.
    """
    arns = [f"arn:{partition}:iam::*:role/{role}" for role in sorted(set(roles))]
    statements = [_statement("EnterAccounts", [ASSUME_ROLE], arns if len(arns) > 1 else arns[0])] if arns else []
    if enters_as_root:
        root = _statement("EnterAsRoot", [ASSUME_ROOT], f"arn:{partition}:iam::*:root")
        root["Condition"] = {"StringEquals": {"sts:TaskPolicyArn": f"arn:{partition}:{AUDIT_TASK}"}}
        statements.append(root)
    if organisation:
        statements.append(_statement("FindAccounts", organisation, "*"))
    if reads_itself:
        statements += _read_statements(partition)
    return _document(statements)


def _read_statements(partition: str) -> list[dict[str, Any]]:
    resources = {
        ACCOUNT_LEVEL: "*",
        PER_USER: f"arn:{partition}:iam::*:user/*",
        QUARANTINE: f"arn:{partition}:iam::aws:policy/{QUARANTINE_POLICY}*",
    }
    return [
        _statement(sid, [permission.action for permission in group], resources[sid])
        for sid, group in groupby(READING, key=lambda permission: permission.sid)
    ]


def _statement(sid: str, actions: Sequence[str], resource: str | Sequence[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _document(statements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"Version": POLICY_VERSION, "Statement": list(statements)}


# ------------------------------------------------------------------------------------------------- CloudFormation


@dataclass(frozen=True, slots=True)
class ReadRole:
    """The role that a template makes in every account.

    `trusted_account` and `external_id` become defaults of the template's parameters; where an external id is needed
    but not to be written down, `asks_external_id` makes the template ask for it.
    """

    name: str
    partition: str
    trusted_account: str | None = None
    external_id: str | None = None
    asks_external_id: bool = False
    session_seconds: int = SHORTEST_LIMIT


def role_template(role: ReadRole) -> dict[str, Any]:
    """A CloudFormation template of the read role: whom it trusts, and its policy (AWS::IAM::Role)."""
    path, _, name = role.name.rpartition("/")
    trusted = {"AWS": {"Fn::Sub": f"arn:{role.partition}:iam::${{AuditingAccount}}:root"}}
    external_id = {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}
    trust = {
        "Effect": "Allow",
        "Principal": trusted,
        "Action": ASSUME_ROLE,
        "Condition": {"Fn::If": ["HasExternalId", external_id, {"Ref": "AWS::NoValue"}]},
    }
    properties = {
        "RoleName": {"Ref": "RoleName"},
        "Path": f"/{path}/" if path else "/",
        "Description": "Lets auditor read what proves that access keys are under control.",
        "MaxSessionDuration": max(SHORTEST_LIMIT, role.session_seconds),
        "AssumeRolePolicyDocument": _document([trust]),
        "Policies": [{"PolicyName": "audit-access-keys", "PolicyDocument": read_policy(role.partition)}],
    }
    return _template(
        "The role that auditor enters an account by; it can only read.",
        {"Type": "AWS::IAM::Role", "Properties": properties},
        Parameters={
            "RoleName": {"Type": "String", "Default": name, "Description": "As accounts.role_name without its path."},
            "AuditingAccount": {
                "Type": "String",
                "AllowedPattern": "[0-9]{12}",
                "Description": "The account whose principals may assume the role, where they are allowed to.",
                **({"Default": role.trusted_account} if role.trusted_account else {}),
            },
            "ExternalId": {
                "Type": "String",
                "NoEcho": True,
                "Description": "As accounts.external_id; empty for a role that asks for none.",
                **(
                    {"MinLength": SHORTEST_EXTERNAL_ID}
                    if role.asks_external_id
                    else {"Default": role.external_id or ""}
                ),
            },
        },
        Conditions={"HasExternalId": {"Fn::Not": [{"Fn::Equals": [{"Ref": "ExternalId"}, ""]}]}},
    )


def caller_template(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A CloudFormation template of the auditing principal's policy, to be attached to it (AWS::IAM::ManagedPolicy)."""
    properties = {"Description": "What auditor's caller needs.", "PolicyDocument": policy}
    return _template(
        "What the principal that runs auditor needs.", {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}
    )


def _template(description: str, resource: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": description,
        **sections,
        "Resources": {"Auditor": resource},
    }
