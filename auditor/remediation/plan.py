"""A plan: exactly which keys are to be changed, why, on what evidence, within which limits, and until when.

Its digest is the SHA-256 of its canonical JSON: sorted keys, no spaces, no floats, times in UTC. What is approved is
that digest, so nothing of it can be changed afterwards. What is live at the time of a change may take items away, and
never adds or widens one.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import UsageError
from auditor.model import KeyStatus, LastUsed, NeverUsed, UnknownUse, UsedAt


class Kind(StrEnum):
    """What is done to a key; each is the last step of what comes before it."""

    ROTATE = "rotate"
    DEACTIVATE = "deactivate"
    DELETE = "delete"

    @property
    def rank(self) -> int:
        """0 for rotate to 2 for delete."""
        return list(Kind).index(self)


class Record(BaseModel):
    """A part of a plan: frozen, and nothing in it that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Use(Record):
    """The last use of a key when the plan was made; None for `at` is "never". What is unknown is never planned."""

    at: AwareDatetime | None = None
    service: str | None = None
    region: str | None = None


class PlannedKey(Record):
    """A key as it was when the plan was made."""

    id: str
    created_at: AwareDatetime
    status: KeyStatus
    last_used: Use


WARNING, CAREFUL = "-", "Careful: "
"""What stands where a finding's control would, of what approvers are warned of, and how its reason begins."""


class Basis(Record):
    """A finding that an item rests on, or a warning."""

    control: str
    severity: str
    reason: str


class Waits(Record):
    """Days that must pass: after publishing, without a use of the old key, and inactive before it is deleted.

    Whatever a configuration says, there is one quiet day and there are two weeks inactive.
    """

    grace_days: Annotated[int, Field(ge=0)]
    quiet_days: Annotated[int, Field(ge=1)]
    quarantine_days: Annotated[int, Field(ge=14)]
    why: str | None = None
    """Why they are longer than the configuration has them."""


_STORES = {
    "secretsmanager": "{0.secret} in Secrets Manager",
    "ssm": "{0.secret} in Parameter Store",
    "profile": "{0.secret} in the credentials file",
    "age": "a file in {0.file}/{0.secret} that {1} public keys can open",
}


class Delivery(Record):
    """Where the secret of a new key goes."""

    store: Literal["secretsmanager", "ssm", "profile", "age"] = "secretsmanager"
    secret: str
    """Its name; of a store that is a credentials file, the profile's; of files, the user's folder."""
    file: str | None = None
    """That file; of files, the folder with those of all users."""
    readers: tuple[str, ...] = ()
    """Of files, the public keys of those who can read them."""
    region: str | None = None
    kms_key: str | None = None
    smtp_regions: tuple[str, ...] = ()
    """Where the key's user sends mail by SES over SMTP, whose passwords come from the key's secret."""
    current: str | None = None
    """The version that was current when the plan was made; another one means that somebody else rotates it, too."""

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return _STORES[self.store].format(self, len(self.readers))


class Item(Record):
    """One key of one user, and how far it is to be taken."""

    id: str
    kind: Kind
    through: Kind
    account_id: str
    account_name: str | None
    partition: str
    user: str
    user_id: str
    key: PlannedKey
    others: tuple[PlannedKey, ...] = ()
    basis: Annotated[tuple[Basis, ...], Field(min_length=1)]
    owner: str | None
    urgent: bool = False
    """A key that leaked, as AWS found or the planner says: it is switched off without waiting for it to be quiet."""
    inactive_since: AwareDatetime | None = None
    own: bool = False
    """The key is the operator's own, and changed with the operator's own rights."""
    delivery: Delivery | None = None
    waits: Waits

    @property
    def warnings(self) -> tuple[str, ...]:
        """What approvers are warned of."""
        return tuple(basis.reason.removeprefix(CAREFUL) for basis in self.basis if basis.control == WARNING)

    def covers(self, kind: Kind) -> bool:
        """Whether this kind of step is part of the item."""
        return self.kind.rank <= kind.rank <= self.through.rank

    @property
    def makes_key(self) -> bool:
        """Whether there will be a new key."""
        return self.kind is Kind.ROTATE

    @property
    def where(self) -> str:
        """Account and user, for people."""
        return f"{self.account_name or self.account_id}/{self.user}"


class Blocked(Record):
    """A finding that nothing is planned for, why, and what somebody can do."""

    account_id: str
    account_name: str | None
    user: str
    key_id: str | None
    code: str
    reason: str
    advice: str


class Limits(Record):
    """How much a plan, and a day, may change at most."""

    max_items: int
    max_per_account: int
    max_percent: int
    max_disruptions_per_tick: int


class Among(Record):
    """The keys that a plan chose from, as its run saw them: caps go by their number."""

    active_keys: Annotated[int, Field(ge=0)]
    in_use: Mapping[str, int]
    """How many were used lately, by the accounts of the plan."""


class Author(Record):
    """Who made the plan: the person, named as an approver would be, and whom AWS says that it is."""

    person: str
    arn: str
    account_id: str


class Plan(Record):
    """See the module."""

    schema_: Annotated[Literal["auditor.plan/1"], Field(alias="schema")] = "auditor.plan/1"
    id: str
    created_at: AwareDatetime
    expires_at: AwareDatetime
    author: Author
    tool_version: str
    run_id: str | None
    """The run that the plan's findings come from; None where a person asked for it."""
    run_sha256: str | None
    """Of its run.json."""
    approvers_sha256: str | None
    """Of the file of who may approve, as it was when the plan was made; None for what nobody else approves."""
    accounts_read: int
    accounts_not_read: tuple[str, ...] = ()
    limits: Limits
    among: Among | None = None
    """None where a person asked for a key."""
    items: tuple[Item, ...]
    blocked: tuple[Blocked, ...] = ()

    @property
    def content(self) -> bytes:
        """The canonical JSON."""
        document = self.model_dump(mode="json", by_alias=True)
        if self.among is None:
            del document["among"]
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """SHA-256 of `content`, as hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def code(self) -> str:
        """The first digits of the digest, for people to compare."""
        return f"{self.digest[:4]}-{self.digest[4:8]}"

    @property
    def highest(self) -> Kind:
        """The furthest that any item goes."""
        return max((item.through for item in self.items), key=lambda kind: kind.rank, default=Kind.ROTATE)


def read_plan(content: bytes, where: str) -> Plan:
    """A plan out of its file; UsageError where it is none, or has anything in it that is not known."""
    step = "Make it anew with `auditor remediate plan`; a plan is not edited by hand."
    try:
        plan = Plan.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"This is not a plan: {place + ': ' if place else ''}{first['msg']}."
        raise UsageError(what, where=where, next_step=step) from None
    return plan


def use_of(last_used: LastUsed) -> Use | None:
    """The use as a plan keeps it; None for what is unknown."""
    match last_used:
        case UsedAt(at, service, region):
            return Use(at=at, service=service, region=region)
        case NeverUsed():
            return Use()
        case UnknownUse():
            return None


def days(number: int) -> timedelta:
    """A number of days."""
    return timedelta(days=number)


def is_expired(plan: Plan, now: datetime) -> bool:
    """Whether nothing new may be begun any more; what was begun goes on."""
    return now >= plan.expires_at
