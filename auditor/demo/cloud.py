"""The organisation as the server sees it: moto's backends, and beside them the facts that moto has no place for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock

from moto.iam.models import AccessKey, IAMBackend, User, iam_backends
from moto.organizations.models import OrganizationsBackend, organizations_backends

from auditor.demo.seed import OrganisationSeed, PasswordSeed, ReportSeed, RootSeed, ServiceCredentialSeed
from auditor.model import UsedAt

Clock = Callable[[], datetime]

REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""Where the IAM and STS of each partition are addressed."""


def to_moto(instant: datetime) -> datetime:
    """A UTC instant as moto keeps it: naive; and as IAM keeps it: in whole seconds."""
    return instant.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def from_moto(instant: datetime) -> datetime:
    """An instant of moto's as a UTC instant in whole seconds."""
    return instant.replace(tzinfo=UTC, microsecond=0)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request; `user_name` is None for a session of a role or of the root user."""

    account_id: str
    arn: str
    user_id: str
    user_name: str | None = None
    is_root: bool = False
    """A session of the root user, which may do no more than read the root user's credentials."""


@dataclass(frozen=True, slots=True)
class ServiceCredential:
    """A service-specific credential as it was planted."""

    id: str
    seed: ServiceCredentialSeed


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials as STS issued them."""

    caller: Caller
    token: str
    expires_at: datetime


@dataclass(slots=True)
class AccountExtras:
    """What moto does not know about one account."""

    root: RootSeed = field(default_factory=RootSeed)
    """Its keys have their access key ids."""
    report: ReportSeed = field(default_factory=ReportSeed)
    earlier_report: tuple[bytes, datetime] | None = None
    """The credential report that exists already, and its GeneratedTime."""
    uses: dict[str, UsedAt] = field(default_factory=dict)
    """Last use by access key id. Moto's own records are not read: there, the audit's calls would count as use."""
    passwords: dict[str, PasswordSeed] = field(default_factory=dict)
    """By moto's user id."""
    service_credentials: dict[str, tuple[ServiceCredential, ...]] = field(default_factory=dict)
    """By moto's user id."""


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key that was made by CreateAccessKey, as CloudTrail tells of it."""

    account_id: str
    user_name: str
    access_key_id: str
    caller_arn: str
    user_agent: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SwitchedKey:
    """A key whose status was set by UpdateAccessKey, as CloudTrail tells of it."""

    account_id: str
    user_name: str | None
    """None where the caller's own key was meant and no user named."""
    access_key_id: str
    status: str
    caller_arn: str
    user_agent: str
    at: datetime


class Cloud:
    """Access to every account's state; `lock` guards what is not moto's."""

    def __init__(self, seed: OrganisationSeed) -> None:
        """Of an organisation whose backends are being planted; of its seed, only the settings are read later."""
        self.seed = seed
        self.partition = seed.partition
        self.region = REGIONS[seed.partition]
        self.management_account_id = seed.management.id
        self.extras: dict[str, AccountExtras] = {}
        self.sessions: dict[str, Session] = {}
        self.created_keys: dict[str, CreatedKey] = {}
        """By access key id, in the order of their creation."""
        self.switched_keys: list[SwitchedKey] = []
        """In the order of the calls."""
        self.lock = RLock()
        self._owners: dict[str, str] = {}

    def iam(self, account_id: str) -> IAMBackend:
        """The IAM backend of an account, made when there is none yet."""
        return iam_backends[account_id][self.partition]

    def has_account(self, account_id: str) -> bool:
        """Whether the account exists; asking moto's dictionary for it would create it."""
        return account_id in self.extras or account_id in iam_backends

    def extras_of(self, account_id: str) -> AccountExtras:
        """The facts beside moto's; an account that was created through the API gets plain ones."""
        with self.lock:
            return self.extras.setdefault(account_id, AccountExtras())

    def organizations(self) -> OrganizationsBackend:
        """The management account's Organizations backend; its `org` is None where there is no organisation."""
        return organizations_backends[self.management_account_id][self.partition]

    def state_of(self, account_id: str) -> str:
        """Organizations' `State` of an account; ACTIVE for one that belongs to no organisation."""
        accounts = self.organizations().accounts
        return next((account.state for account in accounts if account.id == account_id), "ACTIVE")

    def key(self, access_key_id: str) -> tuple[str, AccessKey] | None:
        """The account and the access key with this id, temporary ones too; None for an unknown or deleted key."""
        likely = self._owners.get(access_key_id)
        for account_id in (likely,) if likely is not None else tuple(iam_backends):
            found = self.iam(account_id).access_keys.get(access_key_id)
            if found is not None:
                self._owners[access_key_id] = account_id
                return account_id, found
        return None

    def user(self, account_id: str, name: str) -> User | None:
        """The user of this name; IAM matches names in any case."""
        users = self.iam(account_id).users
        if name in users:
            return users[name]
        folded = name.casefold()
        return next((user for user in list(users.values()) if user.name.casefold() == folded), None)

    def arn(self, account_id: str, resource: str, service: str = "iam") -> str:
        """An ARN of this partition; `resource` such as `user/team/x/name`."""
        return f"arn:{self.partition}:{service}::{account_id}:{resource}"

    def user_arn(self, user: User) -> str:
        """ARN of a user; moto's own gets the partition of us-gov Regions wrong."""
        return self.arn(user.account_id, f"user{user.path}{user.name}")
