"""The settings of remediation: who is never touched, how much is done at a time, who approves, where secrets go."""

from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, model_validator

from auditor.config.forms import (
    ACCOUNT_ID,
    FILE,
    FOLDER,
    GLOB,
    IAM_PATH,
    LINE,
    OU,
    RECIPIENT,
    REGION,
    ROLE_NAME,
    SECRET_NAME,
    TAG,
    TIME_OF_DAY,
    USERS,
)
from auditor.config.policy_conflicts import with_days
from auditor.config.section import UNSET, Choice, Many, OptionalLine, Section, table
from auditor.model import Scope

_OptionalRole = Annotated[Annotated[str, ROLE_NAME] | None, UNSET]


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


class ProtectedConfig(Section):
    """Users to whom nothing is ever done; who matches any entry is meant. What cannot be read protects as well."""

    users: Many[Annotated[str, USERS]] = ()
    """User names, or patterns in which * and ? stand for others."""
    paths: Many[Annotated[str, IAM_PATH]] = ()
    """IAM paths with all that is below them."""
    tags: Many[Annotated[str, TAG]] = ()
    """Tags of the user, as key or key=value; auditor:protected and auditor:hold protect always."""
    groups: Many[Annotated[str, LINE]] = ()
    """Groups of IAM."""
    accounts: Many[Annotated[str, ACCOUNT_ID]] = ()
    """Accounts."""
    ous: Many[Annotated[str, OU]] = ()
    """Organisational units with all that is nested below them: ids, or paths of names below the root."""

    def to_scopes(self) -> tuple[Scope, ...]:
        """Who is meant, but for groups."""
        scopes = (
            Scope(users=self.users) if self.users else None,
            Scope(paths=self.paths) if self.paths else None,
            Scope(tags=self.tags) if self.tags else None,
            Scope(accounts=self.accounts) if self.accounts else None,
            Scope(units=self.ous) if self.ous else None,
        )
        return tuple(scope for scope in scopes if scope)


class FreezeConfig(Section):
    """A time in which no key is switched off or deleted."""

    starts: date
    """The first day of it, in the window's time zone."""
    ends: date
    """The last day of it."""
    reason: Annotated[str, LINE]
    """Why, for those who wait."""

    @model_validator(mode="before")
    @classmethod
    def _read_days(cls, data: object) -> object:
        """TOML's own dates, and the texts that they are in a stored run."""
        return with_days(data, "starts", "ends")


class WindowConfig(Section):
    """When keys may be switched off and deleted: when somebody is there to see what comes of it."""

    days: Many[Choice[Day]] = (Day.MONDAY, Day.TUESDAY, Day.WEDNESDAY, Day.THURSDAY)
    """Days of the week."""
    starts: Annotated[str, TIME_OF_DAY] = "09:00"
    """From this time of the day on."""
    ends: Annotated[str, TIME_OF_DAY] = "15:00"
    """Up to this time of the day."""
    time_zone: Annotated[str, LINE] = "UTC"
    """The time zone of the window, such as Europe/London."""
    freeze: Many[FreezeConfig] = ()
    """Times in which nothing is switched off or deleted at all."""


class ApprovalConfig(Section):
    """Who approves plans."""

    allowed_signers: Annotated[Annotated[str, FILE] | None, UNSET] = None
    """A file of OpenSSH's allowed_signers form: a name and a public key a line; relative to the configuration."""
    persons: int = Field(default=1, ge=1, le=10)
    """Distinct persons who must approve rotating and switching off; none of them made the plan."""
    persons_for_deletion: int = Field(default=2, ge=2, le=10)
    """Distinct persons who must approve deleting."""
    plan_hours: int = Field(default=72, ge=1, le=720)
    """How long a plan may be begun."""


class Store(StrEnum):
    """A service of AWS that keeps secrets."""

    SECRETS_MANAGER = "secretsmanager"
    PARAMETER_STORE = "ssm"


class FileOwnerConfig(Section):
    """An owner who reads no secret store, such as a vendor: new keys come as files that only that owner can read."""

    name: Annotated[str, GLOB]
    """The owner as findings name it, or a pattern; the first entry that fits counts."""
    keys: Annotated[Many[Annotated[str, RECIPIENT]], Field(min_length=1)]
    """Public keys of the owner, of age or SSH; any one of them reads the file."""


class SecretsConfig(Section):
    """Where the secrets of new keys are kept, in each user's own account."""

    store: Choice[Store] = Store.SECRETS_MANAGER
    """Secrets Manager, or the Parameter Store of Systems Manager, whose readers must ask for the label current."""

    name: Annotated[str, SECRET_NAME] = "auditor/{user}"
    """The secret's name; {user} stands for the user's name."""
    region: Annotated[Annotated[str, REGION] | None, UNSET] = None
    """The Region of the secrets; not set, the one whose endpoints are called."""
    kms_key: OptionalLine = None
    """The KMS key of new secrets, by id, ARN or alias; not set, the account's default."""
    smtp_regions: Many[Annotated[str, REGION]] = ()
    """Regions for which keys that Amazon SES uses get SMTP passwords, besides that of their last use."""
    owner: Many[FileOwnerConfig] = ()
    """Owners whose keys come as files encrypted with age, below the folder of remediation."""
    recovery_keys: Many[Annotated[str, RECIPIENT]] = ()
    """Public keys that can read all these files as well, for when an owner cannot."""

    def name_of(self, user: str) -> str:
        """The name of a user's secret; Parameter Store wants a slash first where there is one at all."""
        name = self.name.replace("{user}", user)
        has_path = "/" in name and self.store is Store.PARAMETER_STORE
        return f"/{name.removeprefix('/')}" if has_path else name

    def readers_of(self, owner: str | None) -> tuple[str, ...]:
        """The public keys of who reads the file with an owner's new key; none where it goes to the store."""
        matching = (entry for entry in self.owner if owner and fnmatchcase(owner.casefold(), entry.name.casefold()))
        found = next(matching, None)
        return tuple(dict.fromkeys((*found.keys, *self.recovery_keys))) if found else ()


class RolesConfig(Section):
    """Roles that may change keys, apart from the one that reads; not set, the role that reads, which may not."""

    rotate: _OptionalRole = None
    """Makes keys and stores their secrets; `auditor iam-policy --for rotate` prints what it needs."""
    retire: _OptionalRole = None
    """Switches keys off and on, and deletes them; `auditor iam-policy --for retire` prints what it needs."""
    rollback: _OptionalRole = None
    """Switches keys on again for `rollback` and `auditor key activate`; not set, the role that retires."""


class JournalConfig(Section):
    """A table of DynamoDB that a team's machines keep the journal in; without one it is a file of the folder."""

    table: OptionalLine = None
    """The table's name or ARN; `deploy/journal.yaml` makes one."""
    region: Annotated[Annotated[str, REGION] | None, UNSET] = None
    """The table's Region; not set, the one whose endpoints are called."""
    name: Annotated[str, LINE] = "default"
    """Which of the journals in the table, such as one for each organisation."""


class RemediationConfig(Section):
    """How keys are rotated, switched off and deleted, where somebody plans it and others approve."""

    folder: Annotated[str, FOLDER] = "remediation"
    """The folder of the journal and of plans."""
    max_items: int = Field(default=25, ge=1, le=10_000)
    """The most keys in a plan, with those that earlier plans left open."""
    first_items: int = Field(default=5, ge=1, le=10_000)
    """The most keys under way at first; later there may be twice as many as were done well by then."""
    max_per_account: int = Field(default=5, ge=1, le=1000)
    """The most keys of one account, counted like `max_items`."""
    max_percent: int = Field(default=10, ge=1, le=100)
    """The same in percent of the run's active keys; one is always allowed."""
    max_disruptions_per_tick: int = Field(default=5, ge=1, le=1000)
    """The most keys that are switched off or deleted at a time."""
    grace_days: int = Field(default=7, ge=0, le=365)
    """Days that an application has to move to a new key before the old one may be switched off."""
    quiet_days: int = Field(default=14, ge=1, le=3650)
    """Days without any use after which a key counts as not needed; no shorter than your rarest job."""
    quarantine_days: int = Field(default=14, ge=14, le=3650)
    """Days that a key stays switched off before it is deleted."""
    protected: ProtectedConfig = table(ProtectedConfig)
    window: WindowConfig = table(WindowConfig)
    approval: ApprovalConfig = table(ApprovalConfig)
    journal: JournalConfig = table(JournalConfig)
    secrets: SecretsConfig = table(SecretsConfig)
    roles: RolesConfig = table(RolesConfig)
