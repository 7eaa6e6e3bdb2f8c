"""What the embedded organisation is made from: frozen, plain data with a sensible default for every field.

A seed describes a timeline, not a moment: keys and users carry when they were created, deactivated and deleted, and
`at(moment)` answers how they stood then. So one seed gives both an account as it is and the credential report that
AWS made of it some hours earlier.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from auditor.model import ROOT_USER, KeyStatus, UsedAt

FIRST_DAY = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When everything was created whose seed does not say when."""

_USER_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_PATH = re.compile(r"/|/[!-~]+/", re.ASCII)
_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)
_ACCESS_KEY_ID = re.compile(r"AKIA[A-Z2-7]{16}", re.ASCII)


def derived_text(*parts: object, alphabet: str, length: int) -> str:
    """A made-up identifier: the same parts always give the same text, drawn from `alphabet`."""
    digest = hashlib.sha512("\0".join(map(str, parts)).encode()).digest()
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])


def derived_key_id(account_id: str, user_name: str, position: int) -> str:
    """The access key id of a key whose seed names none: AKIA and 16 of A-Z2-7, from its owner and place."""
    digest = hashlib.sha256(f"{account_id}\0{user_name}\0{position}".encode()).digest()
    return "AKIA" + base64.b32encode(digest).decode()[:16]


@dataclass(frozen=True, slots=True)
class KeySeed:
    """An access key over time. An empty `access_key_id` stands for `derived_key_id` of its owner and position."""

    created_at: datetime = FIRST_DAY
    access_key_id: str = ""
    status: KeyStatus = KeyStatus.ACTIVE
    """As it is at the end of the timeline; a key with `deactivated_at` is inactive from then on, whatever this says."""
    last_used: UsedAt | None = None
    """None for never; a service or Region of None is AWS's `N/A`."""
    earlier_use: UsedAt | None = None
    """The use on record before `last_used`: what a credential report shows that is older than `last_used`."""
    deactivated_at: datetime | None = None
    deleted_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what AWS could not hold."""
        if self.access_key_id and not _ACCESS_KEY_ID.fullmatch(self.access_key_id):
            raise ValueError(f"not an access key id: {self.access_key_id!r}")
        if self.status is KeyStatus.DELETED:
            raise ValueError("a deleted key has a `deleted_at`, not a status")

    def at(self, moment: datetime) -> "KeySeed | None":
        """The key as it stood at `moment`; None while it did not exist yet or any more."""
        if self.created_at > moment or _is_past(self.deleted_at, moment):
            return None
        status = self.status
        if self.deactivated_at is not None:
            status = KeyStatus.INACTIVE if _is_past(self.deactivated_at, moment) else KeyStatus.ACTIVE
        used_later = self.last_used is not None and self.last_used.at > moment
        return replace(self, status=status, last_used=self.earlier_use if used_later else self.last_used)


@dataclass(frozen=True, slots=True)
class PasswordSeed:
    """A console password; a `last_used_at` of None is AWS's `no_information`."""

    changed_at: datetime = FIRST_DAY
    last_used_at: datetime | None = None
    next_rotation_at: datetime | None = None

    def at(self, moment: datetime) -> "PasswordSeed":
        """The password as it stood at `moment`: a later use is not known yet."""
        used_later = self.last_used_at is not None and self.last_used_at > moment
        return replace(self, last_used_at=None) if used_later else self


@dataclass(frozen=True, slots=True)
class CertificateSeed:
    """An X.509 signing certificate."""

    uploaded_at: datetime = FIRST_DAY
    active: bool = True


@dataclass(frozen=True, slots=True)
class ServiceCredentialSeed:
    """A service-specific credential; past its `expires_at`, AWS calls its status Expired."""

    service: str = "codecommit.amazonaws.com"
    created_at: datetime = FIRST_DAY
    status: KeyStatus = KeyStatus.ACTIVE
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserSeed:
    """An IAM user. The console keeps an access key's description in a tag whose key is the access key id."""

    name: str = "alice"
    keys: tuple[KeySeed, ...] = ()
    """More than two happen when CreateAccessKey calls race."""
    path: str = "/"
    created_at: datetime = FIRST_DAY
    tags: Mapping[str, str] = field(default_factory=dict)
    password: PasswordSeed | None = None
    mfa_active: bool = False
    certificates: tuple[CertificateSeed, ...] = ()
    service_credentials: tuple[ServiceCredentialSeed, ...] = ()
    quarantined_by: tuple[str, ...] = ()
    """Names of AWS's quarantine policies that are attached to the user."""
    deleted_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a name or path that IAM refuses."""
        if not _USER_NAME.fullmatch(self.name):
            raise ValueError(f"IAM refuses the user name {self.name!r}")
        if not _PATH.fullmatch(self.path):
            raise ValueError(f"an IAM path begins and ends with a slash: {self.path!r}")

    def at(self, moment: datetime) -> "UserSeed | None":
        """The user as it stood at `moment`; None while it did not exist yet or any more."""
        if self.created_at > moment or _is_past(self.deleted_at, moment):
            return None
        password = self.password.at(moment) if self.password is not None else None
        existing = tuple(found for found in self.service_credentials if found.created_at <= moment)
        return replace(self, keys=_keys_at(self.keys, moment), password=password, service_credentials=existing)


@dataclass(frozen=True, slots=True)
class RootSeed:
    """The root user: the report's first row and the flags of GetAccountSummary."""

    created_at: datetime = FIRST_DAY
    keys: tuple[KeySeed, ...] = ()
    password: PasswordSeed | None = PasswordSeed()
    """None for a member account that was created without root credentials."""
    mfa_active: bool = True
    certificates: tuple[CertificateSeed, ...] = ()

    def at(self, moment: datetime) -> "RootSeed":
        """The root user as it stood at `moment`."""
        password = self.password.at(moment) if self.password is not None else None
        return replace(self, keys=_keys_at(self.keys, moment), password=password)


@dataclass(frozen=True, slots=True)
class RoleSeed:
    """The role that audits the account. Empty fields take the organisation's name and external id."""

    name: str = ""
    external_id: str | None = ""
    """None for a trust policy without the condition."""
    max_session_seconds: int = 3600
    refuses: bool = False
    """The trust policy names somebody else, as after a merger."""
    trusted_account_id: str = ""
    """Whom the trust policy names; empty for the management account."""


@dataclass(frozen=True, slots=True)
class ReportSeed:
    """How the account's credential report comes and looks."""

    polls: int = 0
    """Calls that find the report still in progress, before it is there."""
    generated_at: datetime | None = None
    """When the report that already exists was made, of the account as it stood then; None for no report."""
    has_additional_column: bool = False
    """Whether the 23rd column `additional_credentials_info` is there."""
    has_offset_stamps: bool = False
    """`+00:00` instead of `Z`, AWS's form until about July 2024."""
    has_unquoted_commas: bool = False
    """Names with a comma are not quoted, so that their rows have too many fields."""


@dataclass(frozen=True, slots=True)
class AccountSeed:
    """An AWS account; `organisational_unit` is the path of OU names below the root, such as `Workloads/Production`."""

    id: str = "111111111111"
    name: str = "main"
    users: tuple[UserSeed, ...] = ()
    root: RootSeed = RootSeed()
    state: str = "ACTIVE"
    """Organizations' `State`; in any other, no role can be assumed."""
    email: str = ""
    created_at: datetime = FIRST_DAY
    organisational_unit: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The account's own, as Organizations has them."""
    joined_method: str = "CREATED"
    """`CREATED` accounts have OrganizationAccountAccessRole, `INVITED` ones have not."""
    role: RoleSeed | None = RoleSeed()
    """None where nobody rolled the auditing role out."""
    report: ReportSeed = ReportSeed()

    def __post_init__(self) -> None:
        """Raise ValueError for an id that is not twelve digits and for users whose names differ by case only."""
        if not _ACCOUNT_ID.fullmatch(self.id):
            raise ValueError(f"an account id has twelve digits: {self.id!r}")
        names = [user.name.casefold() for user in self.users]
        if len(set(names)) != len(names):
            raise ValueError(f"user names in account {self.id} are not unique ignoring case")

    def key_ids(self, user_name: str) -> tuple[str, ...]:
        """The access key ids of a user, or of `<root_account>`, in the order of the seed.

        Raises KeyError for a user who is not in the seed.
        """
        keys = {ROOT_USER: self.root.keys} | {user.name: user.keys for user in self.users}
        return tuple(
            key.access_key_id or derived_key_id(self.id, user_name, position)
            for position, key in enumerate(keys[user_name])
        )

    def with_key_ids(self) -> "AccountSeed":
        """The same account with every access key id written out, so that `at` cannot shift positions."""
        users = tuple(replace(user, keys=_named(user.keys, self.key_ids(user.name))) for user in self.users)
        root = replace(self.root, keys=_named(self.root.keys, self.key_ids(ROOT_USER)))
        return replace(self, users=users, root=root)

    def at(self, moment: datetime) -> "AccountSeed":
        """The account as it stood at `moment`."""
        users = tuple(then for user in self.users if (then := user.at(moment)) is not None)
        return replace(self, users=users, root=self.root.at(moment))


@dataclass(frozen=True, slots=True)
class OrganisationSeed:
    """An AWS organisation, or with `has_organizations=False` a lone account that belongs to none."""

    accounts: tuple[AccountSeed, ...] = (AccountSeed(),)
    management_account_id: str = ""
    """Empty for the first account."""
    role_name: str = "access-key-auditor"
    external_id: str = "monthly-access-key-audit"
    caller: str = "auditor"
    """The user of the management account whose credentials the organisation hands out.

    When the seed has this user, its first active key is used and it is listed like any other; when it has not, the
    credentials work and the user appears nowhere, so that a test's inventory holds just what the test put there.
    """
    partition: str = "aws"
    has_organizations: bool = True
    delegated_administrator_ids: tuple[str, ...] = ()
    """Member accounts that may list and describe the organisation."""
    has_empty_pages: bool = False
    """Organizations answers an empty page with a NextToken before each page of a list."""
    shows_state: bool = True
    shows_status: bool = True
    """Organizations is replacing an account's `Status` by `State`; either may be missing."""
    shows_paths: bool = True
    """An account's `Paths` are newer than many an endpoint."""
    has_central_root_access: bool = False
    """Whether the management account and delegated administrators may enter member accounts as root (AssumeRoot)."""

    def __post_init__(self) -> None:
        """Raise ValueError for accounts or access key ids that occur twice, or a management account that is not there.

        AWS never issues an access key id twice.
        """
        ids = [account.id for account in self.accounts]
        if len(set(ids)) != len(ids):
            raise ValueError("an account id occurs twice")
        if not ids or (self.management_account_id and self.management_account_id not in ids):
            raise ValueError("the management account is not among the accounts")
        key_ids = list(self._all_key_ids())
        if len(set(key_ids)) != len(key_ids):
            raise ValueError("an access key id occurs twice")

    def _all_key_ids(self) -> Iterator[str]:
        for account in self.accounts:
            for name in dict.fromkeys((ROOT_USER, *(user.name for user in account.users))):
                yield from account.key_ids(name)

    @property
    def management(self) -> AccountSeed:
        """The management account."""
        return self.account(self.management_account_id) if self.management_account_id else self.accounts[0]

    def account(self, account_id: str) -> AccountSeed:
        """The account with this id; raises KeyError."""
        return {account.id: account for account in self.accounts}[account_id]


def _is_past(instant: datetime | None, moment: datetime) -> bool:
    return instant is not None and instant <= moment


def _keys_at(keys: tuple[KeySeed, ...], moment: datetime) -> tuple[KeySeed, ...]:
    return tuple(then for key in keys if (then := key.at(moment)) is not None)


def _named(keys: tuple[KeySeed, ...], key_ids: tuple[str, ...]) -> tuple[KeySeed, ...]:
    return tuple(replace(key, access_key_id=key_id) for key, key_id in zip(keys, key_ids, strict=True))


def ago(as_of: datetime, **span: float) -> datetime:
    """`as_of` less a timedelta given by its keywords, in whole seconds as AWS stamps things."""
    return (as_of - timedelta(**span)).replace(microsecond=0)
