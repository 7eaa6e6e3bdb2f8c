"""What a decision about one key rests on, and what it can be."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from auditor.model import LiveKey, StoredSecret
from auditor.remediation.key_state import KeyState
from auditor.remediation.plan import Kind
from auditor.remediation.protection import Stopped


class Step(StrEnum):
    """What changes something in AWS."""

    PREPARE = "prepare"
    CREATE = "create"
    VERIFY = "verify"
    PUBLISH = "publish"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    RESTORE = "restore"
    """By hand alone: applications read the old key's secret again."""
    DELETE = "delete"


DISRUPTIVE = frozenset({Step.DEACTIVATE, Step.DELETE})


@dataclass(frozen=True, slots=True)
class Live:
    """What AWS says now."""

    user_id: str | None
    """None where the user is gone."""
    keys: tuple[LiveKey, ...] = ()
    stored: StoredSecret | None = None
    stopped: Stopped | None = None
    """Why nothing may be done to the user: protected, exempt, held by a tag; or that cannot be read."""
    exposed: Stopped | None = None
    """Why the user's keys are not rotated: AWS put it in quarantine; or that cannot be read."""
    cadence: int | str | None = None
    """The days between two uses of its keys, as the user's tag says now; words where it says something else."""
    is_taken: bool = False
    """The file with the new key is not there any more: its owner took it, or it is lost."""
    read_at: datetime | None = None
    """When all of this was read."""

    def key(self, key_id: str | None) -> LiveKey | None:
        """The key with this id."""
        return next((key for key in self.keys if key.access_key_id == key_id), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the journal says was done."""

    prepared_at: datetime | None = None
    new_key: str | None = None
    version: str | None = None
    """Of the secret that holds the new key."""
    created_at: datetime | None = None
    verified_at: datetime | None = None
    published_at: datetime | None = None
    adopted_at: datetime | None = None
    announced: datetime | None = None
    """When the next disruptive step was told of."""
    was_begun: bool = False
    """Something was told of or done, so that it goes on after its plan expired, whatever was taken back since."""
    was_published: bool = False
    """Applications may have read the new key, though they read the old one again by now."""
    inactive_at: datetime | None = None
    used_when_inactive: datetime | None = None
    """The old key's last use as it was when it was switched off."""
    deleted_at: datetime | None = None
    confirmed_by: str | None = None
    held: str | None = None
    wrote_at: datetime | None = None
    """When anything was last written for the user."""


@dataclass(frozen=True, slots=True)
class Do:
    """Make this step."""

    step: Step


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell that this step comes, not before `due`."""

    step: Step
    due: datetime


@dataclass(frozen=True, slots=True)
class Adopted:
    """The application uses the new key: keep on what that rests."""

    evidence: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now: for what, until when at the earliest, and who may have to act."""

    reason: str
    until: datetime | None = None
    who: str = "nobody"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing is done about it by this plan; nothing was changed."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must decide now, and who; until then nothing is done."""

    code: str
    reason: str
    who: str = "whoever runs auditor"


@dataclass(frozen=True, slots=True)
class Done:
    """The item is at its end."""

    how: str


Decision = Do | Announce | Adopted | Wait | Refuse | Ask | Done


@dataclass(frozen=True, slots=True)
class Terms:
    """The rest of what a decision depends on."""

    at: datetime
    approved: Kind | None
    """How far the item is approved; None for not at all."""
    may_begin: bool = True
    """The plan has not expired."""
    closed: str | None = None
    """Why no disruptive step may be made now: outside the window, or frozen."""
    own_keys: Collection[str] = ()
    """Keys that sign the auditor's own calls."""
    unproved: str = ""
    """Why approvals that the journal tells of do not count."""
    key: KeyState = field(default_factory=KeyState)
    """What is known of the key, by whatever plan or hand."""
    planned_at: datetime | None = None
    """When the item was planned: who approved it knew what was known of the key by then."""

    @property
    def needed_at(self) -> datetime | None:
        """When the key was active again that had been inactive, after it was planned, and nobody let it go since."""
        at = self.key.needed_at
        return at if at is not None and (self.planned_at is None or at > self.planned_at) else None
