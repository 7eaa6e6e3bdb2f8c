"""STS: who is calling, and credentials of a role in another account."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.timing import Timing
from auditor.model import Account

CALLER_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):(?:iam|sts)::(?P<account>[0-9]{12}):.+", re.ASCII)

RENEWAL_MARGIN = 120.0
"""Seconds before its end at which a session is renewed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs the calls: ARN, account id and partition."""

    arn: str
    account_id: str
    partition: str


def caller_identity(caller: Caller) -> Identity:
    """Whose credentials the caller holds; needs no permission (AWS STS GetCallerIdentity).

    Raises:
        AwsFailure: the credentials are refused or expired, the endpoint does not answer, or answers nonsense.
    """
    answer = caller.call("sts", "get_caller_identity")
    arn = CALLER_ARN.fullmatch(str(answer.get("Arn", "")))
    if arn is None:
        what = "GetCallerIdentity named no account; is this an AWS endpoint?"
        raise AwsFailure(Kind.UNREADABLE, "sts:GetCallerIdentity", "UnreadableAnswer", what)
    return Identity(arn.group(0), arn["account"], arn["partition"])


@dataclass
class RoleSession:
    """Credentials of the audit role in one account, assumed at first use and renewed before they end.

    The end is counted from when the role was assumed, in this machine's monotonic seconds, so that a wrong clock here
    cannot keep a dead session alive.
    """

    account: Account
    ambient: Caller
    session_name: str
    seconds: int
    timing: Timing
    _current: ReadOnlyCredentials | None = field(default=None, repr=False)
    _renew_at: float = 0.0

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The session's credentials; see `auditor.aws.clients.CredentialSource`.

        Raises:
            AwsFailure: the role cannot be assumed.
        """
        if self._current is None or self.timing.monotonic() >= self._renew_at:
            self._current = self._assume()
            self._renew_at = self.timing.monotonic() + max(self.seconds - RENEWAL_MARGIN, self.seconds / 2)
        return self._current

    def _assume(self) -> ReadOnlyCredentials:
        params: dict[str, Any] = {
            "RoleArn": self.account.role_arn,
            "RoleSessionName": self.session_name,
            "DurationSeconds": self.seconds,
        }
        if self.account.external_id:
            params["ExternalId"] = self.account.external_id
        answer = self.ambient.call("sts", "assume_role", **params)
        given: Mapping[str, str] = answer.get("Credentials", {})
        arn = CALLER_ARN.fullmatch(answer.get("AssumedRoleUser", {}).get("Arn", ""))
        if arn is None or arn["account"] != self.account.id:
            what = f"asked for a role in {self.account.id} and was given one elsewhere"
            raise AwsFailure(Kind.OTHER, "sts:AssumeRole", "WrongAccount", what)
        if not {"AccessKeyId", "SecretAccessKey", "SessionToken"} <= set(given):
            raise AwsFailure(Kind.UNREADABLE, "sts:AssumeRole", "UnreadableAnswer", "the answer holds no credentials")
        return ReadOnlyCredentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
