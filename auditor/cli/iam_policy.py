"""`auditor iam-policy`: the least-privilege policies, made from the one list of permissions."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from auditor.cli.audit import confirm_ids
from auditor.cli.options import ConfigPath, config_file
from auditor.cli.output import print_json
from auditor.errors import UsageError

ROLE_NAME = "auditor-read"
"""What the role is called where nobody named it."""


class PolicyFormat(StrEnum):
    """What is printed: IAM's policy document, or a template that makes what the policy belongs to."""

    JSON = "json"
    CLOUDFORMATION = "cloudformation"


class Principal(StrEnum):
    """Whose policy: the read role's in every account, or of whoever runs the audit."""

    MEMBER = "member"
    CALLER = "caller"


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
        Principal, typer.Option("--for", help="The read role in every account, or the principal that runs the audit.")
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
    """
    confirm_ids([trust] if trust else [], where="--trust")
    has_trust_policy = for_ is Principal.MEMBER and format_ is PolicyFormat.CLOUDFORMATION
    if external_id is not None and not has_trust_policy:
        step = "Add --format cloudformation, which prints the role, and leave out --for caller."
        raise UsageError("An external id stands in the role's trust policy.", where="--external-id", next_step=step)
    if (role_name or trust) and for_ is Principal.MEMBER and not has_trust_policy:
        step = "Add --format cloudformation, which prints the role and whom it trusts."
        raise UsageError("The read role's policy names neither role nor account.", next_step=step)
    given = {"accounts": {"role_name": role_name, "external_id": external_id}}
    from auditor.aws.permissions import ReadRole, caller_template, read_policy, role_template
    from auditor.config import load_config
    from auditor.gather.access import policy_of_caller

    settings = (loaded := load_config(config_file(config), given)).accounts
    document: dict[str, Any]
    if for_ is Principal.CALLER:
        document = policy_of_caller(settings, partition.value, own=trust, policy=loaded.to_policy())
        document = caller_template(document) if format_ is PolicyFormat.CLOUDFORMATION else document
    elif has_trust_policy:
        role = ReadRole(
            name=settings.role_name or ROLE_NAME,
            partition=partition.value,
            trusted_account=trust,
            external_id=external_id,
            asks_external_id=external_id is None and settings.external_id is not None,
            session_seconds=settings.session_minutes * 60,
        )
        document = role_template(role)
    else:
        document = read_policy(partition.value)
    print_json(document)
