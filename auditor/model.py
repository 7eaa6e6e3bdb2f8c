"""The words of the product: frozen records and enumerations that every room shares. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

ROOT_USER = "<root_account>"
"""The `user` column of the root row in every credential report (AWS: "Generate credential reports")."""


class Outcome(StrEnum):
    """What a control says of one key or user; the first, third and fifth are AWS Config's words."""

    COMPLIANT = "compliant"
    NON_COMPLIANT = "non_compliant"
    EXEMPT = "exempt"
    NOT_APPLICABLE = "not_applicable"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How bad a violation is, as the policy sets it for each control."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


class ControlId(StrEnum):
    """The controls that are judged, by the ids of the contract."""

    KEY_AGE = "key-age"
    KEY_UNUSED = "key-unused"
    ROOT_ACCESS_KEY = "root-access-key"
    ONE_ACTIVE_KEY = "one-active-key"
    EXTRA_KEYS = "extra-keys"
    KEY_AT_USER_CREATION = "key-at-user-creation"
    INACTIVE_KEY_RETAINED = "inactive-key-retained"
    QUARANTINED_KEY = "quarantined-key"
    SERVICE_CREDENTIAL_AGE = "service-credential-age"
    CONSOLE_PASSWORD_UNUSED = "console-password-unused"  # noqa: S105 - a control's id
    CONSOLE_MFA = "console-mfa"


ASKED_OF_AWS = frozenset({ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE})
"""Controls that no credential report tells of: AWS has to be asked for each account."""


class Grouping(StrEnum):
    """What the findings of a printed report are grouped by."""

    SEVERITY = "severity"
    OWNER = "owner"


class KeyStatus(StrEnum):
    """AWS's two states of an access key, and our word for one that is gone since the credential report."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"
    DELETED = "Deleted"


class Source(StrEnum):
    """Where the facts about an account come from."""

    CREDENTIAL_REPORT = "credential_report"
    LISTING = "listing"
    """ListUsers, ListAccessKeys and GetAccessKeyLastUsed, where AWS made no report."""
    FILE = "file"
    """A credential report that was downloaded earlier."""


class NotAuditedCode(StrEnum):
    """Why an account in scope has no verdicts; stable words for programs beside the sentence for people."""

    ACCESS_DENIED = "access_denied"
    ROLE_REFUSED = "role_refused"
    NOT_ACTIVE = "not_active"
    REPORT_NOT_READY = "report_not_ready"
    REPORT_UNREADABLE = "report_unreadable"
    WRONG_ACCOUNT = "wrong_account"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


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


# ------------------------------------------------------------------------------------------------- policy


class Operator(StrEnum):
    """When a duration breaks a limit; a standard's edition brings its own."""

    MORE_THAN = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Limit:
    """A duration and the operator that breaks it."""

    maximum: timedelta
    operator: Operator

    def __str__(self) -> str:
        """For reasons and method texts, such as "older than 90 days"."""
        days = f"{self.maximum / timedelta(days=1):g} days"
        return f"more than {days}" if self.operator is Operator.MORE_THAN else f"{days} or more"


class UserKind(StrEnum):
    """What a user is, by the credential report: a human has a console password, a machine has none."""

    HUMAN = "human"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which keys and users are meant: those that match an entry of each kind that is given; without any, all.

    Nothing matches by a part of its name: `users` are whole names, or patterns in which * and ? stand for others.
    """

    keys: tuple[str, ...] = ()
    """Access key ids."""
    users: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Tags of the user, as key or key=value."""
    paths: tuple[str, ...] = ()
    """IAM paths with all that is below them, such as "/ci/"."""
    accounts: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    """Organisational units with all that is below them: ids, or paths of names such as "/Workloads/Production"."""
    kind: UserKind | None = None


@dataclass(frozen=True, slots=True)
class LimitRule:
    """Another limit for some keys or users. The rule of the most specific scope wins, then the strictest."""

    id: str
    control: ControlId
    limit: Limit
    scope: Scope
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Exemption:
    """A violation that is excused: by whom, why, and until when. It holds from `starts_at` up to `expires_at`."""

    id: str
    control: ControlId
    scope: Scope
    reason: str
    owner: str
    approver: str
    ticket: str
    starts_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Who owns the keys of a scope, where neither a tag nor a description says so."""

    owner: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Criterion:
    """A control with the numbers that it is judged by; a standard's edition brings its own.

    Which of the fields count depends on the control; the others keep their defaults, so that equal tests are equal.
    """

    control: ControlId
    limit: Limit | None = None
    """Of the controls that compare a duration: key-age, key-unused, inactive-key-retained, service-credential-age,
    console-password-unused."""
    grace: timedelta = timedelta()
    """key-unused: a key younger than this with no use is not judged unused, as AWS records use with delay.
    one-active-key: a second active key younger than this is a rotation under way, and passes."""
    most: int = 1
    """one-active-key: active keys that a user may have."""
    strict: bool = False
    """root-access-key: an inactive key fails, too. key-at-user-creation: any key of a console user that was never used
    fails, whenever it was created."""


class Support(StrEnum):
    """How far a test goes towards what a clause asks."""

    DIRECT = "direct"
    """The test is the clause's own."""
    SUPPORTS = "supports"
    """The test is evidence for a part of it."""
    NOT_COVERED = "not_covered"
    """The clause bears on keys, and nothing here tests it."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A requirement of a standard, in our own words, and the test that bears on it, if any."""

    id: str
    title: str
    support: Support
    reason: str
    """Why the support is what it is."""
    source: str
    criterion: Criterion | None = None


@dataclass(frozen=True, slots=True)
class Framework:
    """One edition of a standard: the clauses that bear on access keys, with that edition's own numbers."""

    id: str
    title: str
    edition: str
    source: str
    clauses: tuple[Clause, ...]


NINETY_DAYS = Limit(timedelta(days=90), Operator.MORE_THAN)
FORTY_FIVE_DAYS = Limit(timedelta(days=45), Operator.AT_LEAST)


@dataclass(frozen=True, slots=True)
class Policy:
    """Our set of controls with their thresholds; never an IAM policy."""

    key_age: Limit = NINETY_DAYS
    key_unused: Limit = FORTY_FIVE_DAYS
    unused_grace: timedelta = timedelta(days=1)
    """A key younger than this with no use is not judged unused: AWS records use with delay."""
    max_active_keys: int = 1
    rotation_overlap: timedelta = timedelta(days=14)
    """A second active key younger than this is a rotation under way."""
    overlap_passes: bool = True
    """Whether a user passes while a rotation is under way."""
    inactive_root_key_fails: bool = False
    inactive_retained: Limit = NINETY_DAYS
    service_credential_age: Limit = NINETY_DAYS
    password_unused: Limit = FORTY_FIVE_DAYS
    switched_off: frozenset[ControlId] = frozenset()
    """Controls that are not judged by this policy; a framework may ask for them all the same."""
    warning_window: timedelta = timedelta(days=14)
    severities: Mapping[ControlId, Severity] = field(
        default_factory=lambda: {
            ControlId.KEY_AGE: Severity.HIGH,
            ControlId.KEY_UNUSED: Severity.MEDIUM,
            ControlId.ROOT_ACCESS_KEY: Severity.CRITICAL,
            ControlId.ONE_ACTIVE_KEY: Severity.LOW,
            ControlId.EXTRA_KEYS: Severity.HIGH,
            ControlId.KEY_AT_USER_CREATION: Severity.LOW,
            ControlId.INACTIVE_KEY_RETAINED: Severity.LOW,
            ControlId.QUARANTINED_KEY: Severity.CRITICAL,
            ControlId.SERVICE_CREDENTIAL_AGE: Severity.MEDIUM,
            ControlId.CONSOLE_PASSWORD_UNUSED: Severity.MEDIUM,
            ControlId.CONSOLE_MFA: Severity.HIGH,
        }
    )
    limits: tuple[LimitRule, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    frameworks: tuple[Framework, ...] = ()
    owner_tags: tuple[str, ...] = ("owner", "Owner", "team", "Team")
    owner_rules: tuple[OwnerRule, ...] = ()


# ------------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True, slots=True)
class NotAuditedAccount:
    """A line of the coverage: an account in scope that could not be audited."""

    account_id: str
    account_name: str | None
    code: NotAuditedCode
    reason: str
    next_step: str

    @property
    def account(self) -> str:
        """Name and id, or the id alone."""
        return f"{self.account_name} ({self.account_id})" if self.account_name else self.account_id


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much was audited. In scope = audited + not audited; of an organisation, all = in scope + left out."""

    accounts_in_scope: int
    accounts_audited: int
    not_audited: tuple[NotAuditedAccount, ...]
    users: int
    keys: int
    organisation_accounts: int | None = None
    """Accounts that the organisation has; None where the scope is no organisation."""
    left_out: int = 0
    """Accounts of the organisation that filters left out."""
    audited_in_part: int = 0
    """Audited accounts with unknown verdicts, where AWS refused or did not answer look-ups."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Keys by their worst outcome, and the compliance rate as fractions of 1.

    A key that fails one control is non-compliant whatever the others say. `compliance_rate` is None when no key
    could be judged; `rate_lower` and `rate_upper` bracket it where something is unknown or was not audited, and
    equal it where nothing is.
    """

    compliant: int
    non_compliant: int
    exempt: int
    not_applicable: int
    unknown: int
    compliance_rate: float | None
    rate_lower: float | None
    rate_upper: float | None
    verdicts: Mapping[str, Mapping[str, int]]
    """Verdicts (one control on one key or user) by control id, then by outcome."""

    @property
    def has_unknown_verdicts(self) -> bool:
        """Whether any control on anything ended as unknown."""
        return any(counts.get(Outcome.UNKNOWN, 0) for counts in self.verdicts.values())


@dataclass(frozen=True, slots=True)
class SlowAccount:
    """One of the accounts that took longest: seconds from its first call to its last, and the calls that it took."""

    account_id: str
    account_name: str | None
    seconds: float
    calls: int
    throttles: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class RunManifest:
    """Who ran what, when, on which scope, with which policy and version; the content of run.json."""

    id: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime
    tool_version: str
    caller_arn: str | None
    scope: str
    """In words: the caller's account, a list, an organisation, files."""
    coverage: Coverage
    summary: Summary
    calls: Mapping[str, int]
    policy: Policy
    key_ids: str
    """Which key ids were asked for: "flagged", "all", or "none" without AWS."""
    organisation: str = ""
    """The company's name for the cover."""
    fail_on: Severity = Severity.LOW
    """The lowest severity of a violation that makes the exit code 1."""
    throttles: int = 0
    """Calls that AWS refused for their rate."""
    retries: int = 0
    slowest: tuple[SlowAccount, ...] = ()
    """The accounts that took longest, the slowest first."""
    frameworks: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Verdicts by framework id, by clause id and control (as "1.13 key-age"), then by outcome."""
    exemptions: Mapping[str, int] = field(default_factory=dict)
    """How many violations each exemption of the policy matched, in force or not, by its id."""
    undecided: Mapping[str, int] = field(default_factory=dict)
    """Of how many it cannot be told whether the exemption is for them, because tags could not be read."""
    excused: int = 0
    """Violations that are exempt, each counted once, whoever finds it."""
    rules: Mapping[str, int] = field(default_factory=dict)
    """Keys, users or credentials that each limit rule of the policy is for, or may be for, by its id."""
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everything in scope was audited and nothing ended as unknown, by the policy or by a framework."""
        by_clause = (counts for clauses in self.frameworks.values() for counts in clauses.values())
        unknown = self.summary.has_unknown_verdicts or any(counts.get(Outcome.UNKNOWN, 0) for counts in by_clause)
        return not self.coverage.not_audited and not unknown
