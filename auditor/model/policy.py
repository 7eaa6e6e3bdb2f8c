"""The policy: limits, exemptions, owners and frameworks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from auditor.model.words import ControlId, Severity


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
