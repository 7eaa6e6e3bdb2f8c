"""`auditor iam-policy`: the least-privilege policies, made from the one list of permissions."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.audit import confirm_ids
from auditor.cli.options import ConfigPath, config_file
from auditor.cli.output import print_json
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.aws.permissions import ReadRole
    from auditor.config import AccountsConfig, Config

JOURNAL_TABLE = "auditor-journal"
"""What deploy/journal.yaml calls the table."""

ROLE_NAME = "auditor-read"
"""What the role is called where nobody named it."""


class PolicyFormat(StrEnum):
    """What is printed: IAM's policy document, or a template that makes what the policy belongs to."""

    JSON = "json"
    CLOUDFORMATION = "cloudformation"


class Principal(StrEnum):
    """Whose policy: the read role's in every account, of whoever audits, of a role that remediates, or of a user."""

    MEMBER = "member"
    CALLER = "caller"
    REMEDIATE = "remediate"
    ROTATE = "rotate"
    RETIRE = "retire"
    ROLLBACK = "rollback"
    SELF = "self"
    JOURNAL = "journal"
    NOTIFY = "notify"


class Partition(StrEnum):
    """The partition in the policy's ARNs."""

    AWS = "aws"
    CHINA = "aws-cn"
    GOVCLOUD = "aws-us-gov"


def iam_policy(
    format_: Annotated[
        PolicyFormat, typer.Option("--format", "-f", help="The policy itself, or a CloudFormation template in JSON.")
    ] = PolicyFormat.JSON,
    for_: Annotated[
        Principal,
        typer.Option(
            "--for",
            help="The read role in every account; the principal that runs the audit; what the read role needs "
            "on top to plan remediation; each of remediation.roles: rotate, retire, rollback; users who rotate "
            "their own keys; who keeps the journal in a table; or who tells people by SES and SNS.",
        ),
    ] = Principal.MEMBER,
    partition: Annotated[Partition, typer.Option(help="The partition in the ARNs.")] = Partition.AWS,
    role_name: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"The read role; by default the configured one, or {ROLE_NAME}.")
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option(metavar="ACCOUNT_ID", help="The account that the audit is run from: the role trusts it."),
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The external id that the role asks for; it stands in the template."),
    ] = None,
    config: ConfigPath = None,
) -> None:
    """Print the exact policy that an audit needs, and nothing more, as JSON on stdout.

    **Examples**

    - `auditor iam-policy` - what the read role may do, in every account
    - `auditor iam-policy --format cloudformation --trust 111122223333` - a template of that role, for a stack set
    - `auditor iam-policy --for caller --role-name auditor-read` - what the principal that runs the audit needs
    - `auditor iam-policy --for rotate` - what the role needs that makes new keys and keeps their secrets
    - `auditor iam-policy --for self` - what users need who rotate their own keys with `auditor key`
    """
    confirm_ids([trust] if trust else [], where="--trust")
    if for_ not in {Principal.MEMBER, Principal.CALLER}:
        has_more = bool(format_ is PolicyFormat.CLOUDFORMATION or trust or role_name or external_id)
        _print_remediation_policy(for_, partition, config, has_more=has_more)
        return
    has_trust_policy = for_ is Principal.MEMBER and format_ is PolicyFormat.CLOUDFORMATION
    if not has_trust_policy:
        _confirm_no_trust(for_, external_id, role_name or trust)
    given = {"accounts": {"role_name": role_name, "external_id": external_id}}
    from auditor.aws.permissions import caller_template, read_policy, role_template
    from auditor.config import load_config

    settings = (loaded := load_config(config_file(config), given)).accounts
    document: dict[str, Any]
    if for_ is Principal.CALLER:
        document = _caller_policy(loaded, partition, own=trust)
        document = caller_template(document) if format_ is PolicyFormat.CLOUDFORMATION else document
    elif has_trust_policy:
        document = role_template(_read_role(settings, partition, trust, external_id))
    else:
        document = read_policy(partition.value)
    print_json(document)


def _caller_policy(config: "Config", partition: Partition, own: str | None) -> dict[str, Any]:
    from auditor.gather.access import policy_of_caller

    roles = config.remediation.roles
    others = [role for role in (roles.rotate, roles.retire, roles.rollback) if role]
    return policy_of_caller(config.accounts, partition.value, own=own, policy=config.to_policy(), others=others)


def _read_role(
    accounts: "AccountsConfig", partition: Partition, trust: str | None, external_id: str | None
) -> "ReadRole":
    from auditor.aws.permissions import ReadRole

    return ReadRole(
        name=accounts.role_name or ROLE_NAME,
        partition=partition.value,
        trusted_account=trust,
        external_id=external_id,
        asks_external_id=external_id is None and accounts.external_id is not None,
        session_seconds=accounts.session_minutes * 60,
    )


def _confirm_no_trust(for_: Principal, external_id: str | None, named: str | None) -> None:
    if external_id is not None:
        step = "Add --format cloudformation, which prints the role, and leave out --for caller."
        raise UsageError("An external id stands in the role's trust policy.", where="--external-id", next_step=step)
    if named and for_ is Principal.MEMBER:
        step = "Add --format cloudformation, which prints the role and whom it trusts."
        raise UsageError("The read role's policy names neither role nor account.", next_step=step)


def _print_remediation_policy(for_: Principal, partition: Partition, config: Path | None, *, has_more: bool) -> None:
    if has_more:
        step = f"Leave out the other options: --for {for_.value} prints the policy alone."
        raise UsageError("Only the policy itself is printed of this role.", where="--for", next_step=step)
    from auditor.aws.permissions import journal_policy, notify_policy, own_keys_policy, remediation_policy
    from auditor.config import load_config

    settings = load_config(config_file(config))
    if for_ is Principal.SELF:
        print_json(own_keys_policy(partition.value, with_groups=bool(settings.remediation.protected.groups)))
        return
    if for_ is Principal.NOTIFY:
        sender, topic = settings.notify.email.sender, settings.notify.sns.topic_arn
        if not (sender or topic):
            step = "Set notify.email.sender or notify.sns.topic_arn; Slack needs nothing of AWS."
            raise UsageError("Neither e-mail nor SNS is configured.", where="notify", next_step=step)
        print_json(notify_policy(partition.value, sender, topic))
        return
    remediation = settings.remediation
    if for_ is Principal.JOURNAL:
        print_json(journal_policy(partition.value, remediation.journal.table or JOURNAL_TABLE))
        return
    secrets = remediation.secrets
    begin = secrets.name_of("{user}").partition("{user}")[0]
    kms_key = secrets.kms_key
    print_json(remediation_policy(partition.value, for_.value, secrets.store.value, begin, kms_key))
