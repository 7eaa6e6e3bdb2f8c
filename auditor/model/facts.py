"""What AWS tells of accounts: reports, look-ups, and why an account could not be audited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from auditor.model.words import ROOT_USER, KeyStatus, NotAuditedCode, Source

# ------------------------------------------------------------------------------------------------- last used


@dataclass(frozen=True, slots=True)
class UsedAt:
    """The key signed a request at `at` (UTC, 15-minute grain); service and Region as AWS names them, if it does."""

    at: datetime
    service: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class NeverUsed:
    """AWS has no use on record (tracking began on 22 April 2015)."""


@dataclass(frozen=True, slots=True)
class UnknownUse:
    """Whether the key was used could not be found out, and why. Never the same as never used."""

    why: str


LastUsed = UsedAt | NeverUsed | UnknownUse


# ------------------------------------------------------------------------------------------------- accounts


@dataclass(frozen=True, slots=True)
class Account:
    """One AWS account in scope and how to enter it; without a role name the ambient credentials are used."""

    id: str
    name: str | None = None
    partition: str = "aws"
    state: str = "ACTIVE"
    role_name: str | None = None
    external_id: str | None = field(default=None, repr=False)
    units: tuple[str, ...] | None = None
    """Ids of the root and the organisational units above it, the root first; None where they are not known."""
    unit_names: tuple[str, ...] | None = None
    """Names of these units without the root, where somebody asked for them."""

    @property
    def role_arn(self) -> str | None:
        """ARN of the role to assume, or None for the ambient credentials' own account."""
        return f"arn:{self.partition}:iam::{self.id}:role/{self.role_name}" if self.role_name else None


@dataclass(frozen=True, slots=True)
class Member:
    """An account as its organisation lists it."""

    id: str
    name: str | None
    state: str
    units: tuple[str, ...] = ()
    """Ids of the root and of the organisational units above it, the root first; empty where they are not known."""


@dataclass(frozen=True, slots=True)
class PopulationEntry:
    """What became of an organisation's account: in scope, or left out by the filter named."""

    member: Member
    left_out: str | None = None
    unit_names: tuple[str, ...] | None = None
    """Names of the units above it, without the root; None where they are not known."""


@dataclass(frozen=True, slots=True)
class NotAudited:
    """An account in scope that has no verdicts: why, and what to do about it."""

    code: NotAuditedCode
    reason: str
    next_step: str


# ------------------------------------------------------------------------------------------------- credential report


@dataclass(frozen=True, slots=True)
class ReportKey:
    """An access key as one slot of the credential report shows it; `created_at` is `access_key_N_last_rotated`."""

    slot: int
    status: KeyStatus
    created_at: datetime | None
    last_used: LastUsed


@dataclass(frozen=True, slots=True)
class ReportUser:
    """One row of the credential report. Booleans are None where AWS says `not_supported` or `N/A`."""

    name: str
    arn: str
    created_at: datetime | None
    keys: tuple[ReportKey, ...]
    password_enabled: bool | None = None
    password_last_used: LastUsed = field(default_factory=NeverUsed)
    password_changed_at: datetime | None = None
    mfa_active: bool | None = None
    active_certificates: int = 0
    additional_credentials: str | None = None
    """`additional_credentials_info`: text when the user has more than two keys or certificates, else None."""

    @property
    def is_root(self) -> bool:
        """Whether this is the account's root user."""
        return self.name == ROOT_USER


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """A parsed credential report of one account. Its users are columns that make a record when one is asked for."""

    account_id: str
    partition: str
    users: Sequence[ReportUser]
    has_additional_column: bool
    """Whether the report has the optional column `additional_credentials_info`."""

    @property
    def root(self) -> ReportUser | None:
        """The root user's row, which AWS always writes, or None."""
        return next((user for user in self.users if user.is_root), None)


# ------------------------------------------------------------------------------------------------- live look-ups


@dataclass(frozen=True, slots=True)
class LiveKey:
    """An access key as ListAccessKeys and GetAccessKeyLastUsed show it now."""

    access_key_id: str
    status: KeyStatus
    created_at: datetime
    last_used: LastUsed


@dataclass(frozen=True, slots=True)
class UserLookup:
    """What a live look-up of one user gave. `failed` says why there are no keys; None when ListAccessKeys answered."""

    user: str
    keys: tuple[LiveKey, ...] = ()
    failed: str | None = None
    exists: bool = True
    """False when the user was deleted since the report: no such name, and nobody listed was created when it was."""
    renamed_to: str | None = None
    """The name under which the keys were found, where the user was renamed since the report."""
    tags: Mapping[str, str] = field(default_factory=dict)
    tags_failed: str | None = None


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A user as ListUsers shows it, where there is no credential report."""

    name: str
    arn: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ServiceCredential:
    """A service-specific credential of a user, such as a long-term API key of Amazon Bedrock."""

    id: str
    user: str
    service: str
    """As AWS names it, such as "bedrock.amazonaws.com"."""
    status: KeyStatus
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServiceCredentials:
    """All of an account (ListServiceSpecificCredentials); `failed` says why they are not known."""

    found: tuple[ServiceCredential, ...] = ()
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A place where secrets are kept, without its values (DescribeSecret, GetParameterHistory)."""

    versions: Mapping[str, frozenset[str]]
    """Stages by version id."""
    rotates_itself: bool = False
    is_deleted: bool = False
    is_foreign: bool = False
    """Nothing of it is ours, and who reads it takes the newest version: a new one would be read before it is proved."""

    @property
    def current(self) -> str | None:
        """The version that applications read."""
        return next((version for version, stages in self.versions.items() if "AWSCURRENT" in stages), None)


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a key was seen unused, and after which it was used again: at least so long it rests at times."""

    length: timedelta
    ended: datetime
    """The use that ended it."""


@dataclass(frozen=True, slots=True)
class ObservedKey:
    """A key that an earlier run saw inactive, and since when runs have seen it so without a break."""

    access_key_id: str | None
    user_arn: str
    created_at: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Users of an account that AWS put in quarantine, with the policies' names; `failed` says why it is not known."""

    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failed: str | None = None


# ------------------------------------------------------------------------------------------------- one account's result


@dataclass(frozen=True, slots=True)
class ReportMeta:
    """What AWS said beside the report's bytes. `generated_at` is None for a downloaded file that came without it."""

    generated_at: datetime | None
    received_at: datetime | None
    sha256: str
    size: int
    request_id: str | None = None
    origin: str | None = None
    """The file's path, for a report that was downloaded earlier."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """All that was read of an audited account: a report or a listing, and the live look-ups."""

    source: Source
    report: CredentialReport | None = None
    meta: ReportMeta | None = None
    listed_users: tuple[ListedUser, ...] = ()
    lookups: Mapping[str, UserLookup] = field(default_factory=dict)
    root_keys_present: bool | None = None
    """`AccountAccessKeysPresent` of GetAccountSummary, asked only where the report has no root row."""
    quarantine: Quarantine | None = None
    service_credentials: ServiceCredentials | None = None
    """None where they were not asked for: the control is switched off, or AWS is not asked at all."""
    notes: tuple[str, ...] = ()
    """What a reader must know about these facts: a stale report, a fallback and why."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one account took: calls by operation, throttles, retries, and seconds from its first call to its last."""

    calls: Mapping[str, int] = field(default_factory=dict)
    throttles: int = 0
    retries: int = 0
    seconds: float = 0.0


ANSWERED = "ok"
UNANSWERED = "Unanswered"
"""How a request ended whose answer nobody waited for: the run was stopped, or had no use for it any more."""


@dataclass(slots=True)
class Request:
    """One request as it was sent to AWS, and what came of it: told when it is known, in the order of sending.

    So is one that was to be sent, and was not for want of credentials.
    """

    at: datetime
    operation: str
    """Such as "iam:GetCredentialReport"."""
    request_id: str | None = None
    """As CloudTrail has it; None where AWS told none."""
    outcome: str = UNANSWERED
    """`ANSWERED`, or the code of the error."""
    why: str | None = None
    """Of a refusal or a failure: AWS's own words, or what happened."""
    params: Mapping[str, Any] | None = None
    """What was asked, where the answer is kept."""
    attempt: int = 1
    """How often it was tried by then, by whoever asked."""
    answer: bytes | None = None
    """The body of AWS's answer as it came, where it is kept."""
    failed_in: str | None = None
    """What failed in its place, such as "sts:AssumeRole", where it was not sent."""


@dataclass(frozen=True, slots=True)
class AccountResult:
    """One account's unit of work: its facts, or why there are none; and what that took."""

    account: Account
    outcome: AccountFacts | NotAudited
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The receipt of an account whose result is kept: why it was not audited, or None; and what it took."""

    account: Account
    not_audited: NotAudited | None
    spent: Spent = field(default_factory=Spent)
