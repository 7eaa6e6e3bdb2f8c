"""`auditor credential-process`: gives programs the key that stands in its secret now, as AWS's SDKs ask for it."""

import json
import os
import sys
from datetime import timedelta
from typing import Annotated

import typer

from auditor.cli.options import EndpointUrl, Profile, now
from auditor.errors import NothingAuditedError, UsageError
from auditor.secret import forbid_dumps

LASTS = timedelta(minutes=30)
"""After this an SDK asks again, though the key does not expire: so a long-lived program follows a rotation."""

ASKING = "AUDITOR_CREDENTIAL_PROCESS"
"""Set while it runs: a profile whose own process it is would start it again, and again."""

ATTEMPTS = 4

_OTHERS = (
    "It is read with other credentials than those in it: an instance's role, or --profile with one that has its own."
)


def credential_process(
    secret: Annotated[
        str | None, typer.Option("--secret", help="The secret of Secrets Manager: its ARN, or its name.")
    ] = None,
    parameter: Annotated[
        str | None, typer.Option("--parameter", help="Or the parameter of Systems Manager: its ARN, or its name.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="The secret's Region; an ARN names it, else your configured one.")
    ] = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Print a rotated key as a `credential_process` of ~/.aws/config does: for programs, not for a terminal.

    The secret is read with other credentials than the key that it holds: an instance's role, or another profile. The
    answer expires after 30 minutes, so a program that runs for months follows a rotation without a restart.

    **Examples**, a line of a profile in ~/.aws/config

    - `credential_process = auditor credential-process --secret auditor/ci-deploy --region eu-central-1`
    - `credential_process = auditor credential-process --secret auditor/ci-deploy --profile reader`
    """
    name = _asked_for(secret, parameter)
    forbid_dumps()
    os.environ[ASKING] = "1"
    from auditor.aws.calls import Caller
    from auditor.aws.clients import Connection, shared_clients
    from auditor.aws.failures import AwsFailure, Kind
    from auditor.aws.loop import run
    from auditor.aws.parameter_store import ParameterStore
    from auditor.aws.secret_stores import SecretsManager, key_in
    from auditor.aws.timing import Timing

    where, partition, place = _placed(name, "secretsmanager" if secret else "ssm", region)
    store = SecretsManager if secret else ParameterStore
    try:
        clients = shared_clients(Connection(endpoint_url=endpoint_url, profile=profile))
        caller = Caller(clients, clients.ambient(), partition, Timing(), ATTEMPTS, region=place)
        key = key_in(run(store(caller, name).read()))
    except AwsFailure as failure:
        action = "secretsmanager:GetSecretValue" if secret else "ssm:GetParameter"
        step = f"Check the Region, and that these credentials may call {action} (and kms:Decrypt)."
        step = _OTHERS if failure.kind is Kind.NO_CREDENTIALS else step
        raise NothingAuditedError(f"The secret cannot be read: {failure}", where=where, next_step=step) from None
    if key is None:
        step = "Until a rotation has put a key there, go on with the key that the application has."
        raise NothingAuditedError("The secret holds no access key yet.", where=where, next_step=step)
    sys.stdout.write(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": key.id,
                "SecretAccessKey": key.secret.reveal(),
                "Expiration": (now() + LASTS).isoformat(),
            }
        )
        + "\n"
    )


def _asked_for(secret: str | None, parameter: str | None) -> str:
    """The place of the key, where a program asks for it; UsageError where it is a person, or the very same program."""
    if sys.stdout.isatty():
        step = "Name it as credential_process in ~/.aws/config; the SDK reads what it prints."
        raise UsageError("A secret is not shown on a terminal.", next_step=step)
    if os.environ.get(ASKING):
        raise UsageError("The profile that is to read the secret asks this command for it.", next_step=_OTHERS)
    name = secret or parameter
    if name is None or (secret and parameter):
        step = "Give --secret or --parameter; `auditor remediate show` tells where a plan's secrets go."
        raise UsageError("Where the key is kept is not said.", next_step=step)
    return name


def _placed(secret: str, service: str, region: str | None) -> tuple[str, str, str | None]:
    """Where the secret is, for people; its partition, empty where not known; and its Region.

    Raises:
        UsageError: it is an ARN of something else, or of another Region.
    """
    if not secret.startswith("arn:"):
        return f"{secret}{f' in {region}' if region else ''}", "", region
    parts = secret.split(":")
    if len(parts) < 6 or parts[2] != service:  # noqa: PLR2004 - arn:partition:service:region:account:what
        raise UsageError(f"It is no ARN of {service}.", where=secret, next_step="Copy it from the console.")
    if region not in {None, parts[3]}:
        raise UsageError(f"The secret is in {parts[3]}.", where=secret, next_step="Leave --region out.")
    return secret, parts[1], parts[3]
