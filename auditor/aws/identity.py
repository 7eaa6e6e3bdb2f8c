"""STS: who is calling, and credentials of a role, or of the root user, in another account."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients, CredentialSource
from auditor.aws.failures import AwsFailure, Kind, answered_at
from auditor.aws.permissions import ASSUME_ROOT, AUDIT_TASK
from auditor.aws.timing import Timing
from auditor.model import Account

CALLER_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):(?:iam|sts)::(?P<account>[0-9]{12}):.+", re.ASCII)

ROLE_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>[0-9]{12}):role/(?P<role>.+)", re.ASCII)

CHAINED_SECONDS = 3600
"""The longest session of a role that is assumed from a role (AWS IAM: role chaining)."""

ROOT_SESSION_SECONDS = 900
"""The longest session of a root user, and the default (AWS STS API reference, AssumeRoot)."""

RENEWAL_MARGIN = 120.0
"""Seconds before its end at which a session is renewed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs the calls: ARN, account id and partition."""

    arn: str
    account_id: str
    partition: str
    answered_at: datetime | None = field(default=None, compare=False)
    """When AWS said so, by AWS's clock."""

    @property
    def is_role(self) -> bool:
        """Whether the calls are signed by a role's session, so that assuming another role is chaining."""
        return ":assumed-role/" in self.arn


async def caller_identity(caller: Caller) -> Identity:
    """Whose credentials the caller holds; needs no permission (AWS STS GetCallerIdentity).

    Raises:
        AwsFailure: the credentials are refused or expired, the endpoint does not answer, or answers nonsense.
    """
    answer = await caller.call("sts", "get_caller_identity")
    arn = CALLER_ARN.fullmatch(str(answer.get("Arn", "")))
    if arn is None:
        what = "GetCallerIdentity named no account; is this an AWS endpoint?"
        raise AwsFailure(Kind.UNREADABLE, "sts:GetCallerIdentity", "UnreadableAnswer", what)
    return Identity(arn.group(0), arn["account"], arn["partition"], answered_at(answer))


@dataclass
class RoleSession:
    """Credentials of the audit role in one account, assumed at first use and renewed before they end.

    The end is counted from when the role was assumed, in this machine's monotonic seconds, so that a wrong clock here
    cannot keep a dead session alive. Where many calls need it at once, one assumes and the others wait.
    """

    account: Account
    ambient: Caller
    session_name: str
    seconds: int
    timing: Timing
    _current: ReadOnlyCredentials | None = field(default=None, repr=False)
    _assumed_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def frozen(self) -> ReadOnlyCredentials:
        """The session's credentials; see `auditor.aws.clients.CredentialSource`.

        Raises:
            AwsFailure: the role cannot be assumed.
        """
        async with self._lock:
            life = max(self.seconds - RENEWAL_MARGIN, self.seconds / 2)
            if self._current is None or self.timing.monotonic() >= self._assumed_at + life:
                self._current = await self._assume()
                self._assumed_at = self.timing.monotonic()
            return self._current

    def renew(self, failed_at: float) -> None:
        """See `auditor.aws.clients.RenewableSource`."""
        if self._assumed_at <= failed_at:
            self._current = None

    async def _assume(self) -> ReadOnlyCredentials:
        params: dict[str, Any] = {
            "RoleArn": self.account.role_arn,
            "RoleSessionName": self.session_name,
            "DurationSeconds": self.seconds,
        }
        if self.account.external_id:
            params["ExternalId"] = self.account.external_id
        answer = await self.ambient.call("sts", "assume_role", **params)
        arn = CALLER_ARN.fullmatch(answer.get("AssumedRoleUser", {}).get("Arn", ""))
        if arn is None or arn["account"] != self.account.id:
            what = f"asked for a role in {self.account.id} and was given one elsewhere"
            raise AwsFailure(Kind.OTHER, "sts:AssumeRole", "WrongAccount", what)
        return _issued(answer, "sts:AssumeRole")


def _issued(answer: Mapping[str, Any], operation: str) -> ReadOnlyCredentials:
    given: Mapping[str, str] = answer.get("Credentials", {})
    if not {"AccessKeyId", "SecretAccessKey", "SessionToken"} <= set(given):
        raise AwsFailure(Kind.UNREADABLE, operation, "UnreadableAnswer", "the answer holds no credentials")
    return ReadOnlyCredentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


@dataclass(frozen=True, slots=True)
class RootSession:
    """Credentials of the root user of a member account, for one task and for minutes; they are not renewed."""

    credentials: ReadOnlyCredentials = field(repr=False)

    async def frozen(self) -> ReadOnlyCredentials:
        """See `auditor.aws.clients.CredentialSource`."""
        return self.credentials


async def assume_root(caller: Caller, account_id: str) -> Caller:
    """A caller that is the root user of a member account and may read what its credentials are (STS AssumeRoot).

    The organisation must have central root access, and the caller's account must manage it. STS answers with
    credentials alone, so that whose they are is asked on top; that needs no permission.

    Raises:
        AwsFailure: it is refused, or the credentials are another account's.
    """
    task = f"arn:{caller.partition}:{AUDIT_TASK}"
    answer = await caller.call(
        "sts",
        "assume_root",
        TargetPrincipal=account_id,
        TaskPolicyArn={"arn": task},
        DurationSeconds=ROOT_SESSION_SECONDS,
    )
    root = replace(caller, credentials=RootSession(_issued(answer, ASSUME_ROOT)))
    identity = await caller_identity(root)
    if identity.account_id != account_id:
        what = f"asked for the root user of {account_id} and was given {identity.arn}"
        raise AwsFailure(Kind.OTHER, ASSUME_ROOT, "WrongAccount", what)
    return root


@dataclass(frozen=True, slots=True)
class Via:
    """Roles that are assumed first, one from the other, and from the last of which all is called (role chaining)."""

    role_arns: tuple[str, ...]
    session_name: str
    seconds: int

    def credentials(self, clients: Clients, ambient: CredentialSource) -> CredentialSource:
        """See `auditor.aws.clients.FirstHop`; raises ValueError where one of the ARNs is not a role's."""
        timing = Timing()
        for role_arn in self.role_arns:
            arn = ROLE_ARN.fullmatch(role_arn)
            if arn is None:
                raise ValueError(f"not a role's ARN: {role_arn}")
            account = Account(arn["account"], partition=arn["partition"], role_name=arn["role"])
            caller = Caller(clients, ambient, account.partition, timing, ledger=clients.ledger)
            ambient = RoleSession(account, caller, self.session_name, self.seconds, timing)
        return ambient
