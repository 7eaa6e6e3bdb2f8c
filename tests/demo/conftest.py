"""A boto3 session a module, clean of the machine's AWS settings, and clients against an embedded organisation."""

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from auditor.demo import EmbeddedOrganisation

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, instant: datetime = AS_OF) -> None:
        """Standing at `instant`."""
        self.instant = instant

    def __call__(self) -> datetime:
        """The time."""
        return self.instant

    def forward(self, **span: float) -> None:
        """Move on by a timedelta's keywords."""
        self.instant += timedelta(**span)


@dataclass
class Aws:
    """Real clients over HTTP, signing as the organisation's caller unless other credentials are given."""

    session: boto3.Session = field(default_factory=lambda: boto3.Session(region_name="us-east-1"))
    opened: dict[object, Any] = field(default_factory=dict)

    def client(
        self,
        service: str,
        organisation: EmbeddedOrganisation,
        credentials: Mapping[str, Any] | None = None,
        region: str = "us-east-1",
        **config: Any,
    ) -> Any:
        """A client that tries once; `credentials` as AssumeRole gives them."""
        own = {"AccessKeyId": organisation.access_key_id, "SecretAccessKey": organisation.secret_access_key}
        signer = credentials or own
        url = organisation.endpoint_url
        key = (id(organisation), url, service, region, *signer.values(), *config.values())
        if key in self.opened:
            return self.opened[key]
        client = self.session.client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=url,
            aws_access_key_id=signer["AccessKeyId"],
            aws_secret_access_key=signer["SecretAccessKey"],
            aws_session_token=signer.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **{"read_timeout": 5, **config}),
        )
        self.opened[key] = client
        return client

    def assume(self, organisation: EmbeddedOrganisation, account_id: str, **changes: Any) -> Mapping[str, Any]:
        """Credentials of the auditing role in an account; `changes` replace parameters, None leaves one out."""
        params = {
            "RoleArn": f"arn:aws:iam::{account_id}:role/{organisation.role_name}",
            "RoleSessionName": "audit",
            "ExternalId": organisation.external_id,
            **changes,
        }
        wanted = {name: value for name, value in params.items() if value is not None}
        answer: Mapping[str, Any] = self.client("sts", organisation).assume_role(**wanted)
        return answer["Credentials"]  # type: ignore[no-any-return]

    def iam(self, organisation: EmbeddedOrganisation, account_id: str = "") -> Any:
        """An IAM client: in the management account as the caller, elsewhere as the auditing role."""
        if account_id in {"", organisation.management_account_id}:
            return self.client("iam", organisation)
        return self.client("iam", organisation, self.assume(organisation, account_id))

    def report(self, organisation: EmbeddedOrganisation, account_id: str = "") -> str:
        """The account's credential report, waited for."""
        iam = self.iam(organisation, account_id)
        while iam.generate_credential_report()["State"] != "COMPLETE":
            pass
        return str(iam.get_credential_report()["Content"].decode())

    def rows(self, organisation: EmbeddedOrganisation, account_id: str = "") -> dict[str, dict[str, str]]:
        """The report's rows by user name."""
        table = csv.DictReader(StringIO(self.report(organisation, account_id)))
        return {row["user"]: row for row in table}

    @staticmethod
    def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
        """HTTP status and wire code of an error."""
        answer = error.value.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        aws = Aws()
        yield aws
        for client in aws.opened.values():
            client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
