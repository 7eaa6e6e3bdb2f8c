"""A user whose key is rotated, the application that uses it, a clock, and faults at any call or commit."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients, shared_clients
from auditor.aws.identity import RoleSession
from auditor.aws.timing import Timing
from auditor.demo import Call, EmbeddedOrganisation, Fault, KeySeed, UserSeed
from auditor.model import Account, KeyStatus, UsedAt
from auditor.remediation.decision import Terms
from auditor.remediation.engine import Engine, Outcome
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal, Row
from auditor.remediation.journal_file import open_journal
from auditor.remediation.news import Notice
from auditor.remediation.plan import (
    Author,
    Basis,
    Delivery,
    Item,
    Kind,
    Limits,
    Plan,
    PlannedKey,
    Use,
    Waits,
)
from auditor.remediation.progress import fold
from auditor.remediation.protection import Protection
from auditor.remediation.tracked import Tracked
from tests.builders import AS_OF, ago
from tests.conftest import connect

MAIN, OTHER = "111111111111", "222222222222"


class Killed(BaseException):
    """The process was killed here: nothing of it runs any more."""


@dataclass
class Clock:
    """Time that moves by being told to."""

    now: datetime = AS_OF

    def pass_(self, **by: float) -> None:
        """Later by this timedelta."""
        self.now += timedelta(**by)

    @property
    def timing(self) -> Timing:
        """For product code; sleeping passes time."""
        start = AS_OF

        async def sleep(seconds: float) -> None:
            self.pass_(seconds=seconds)

        def seconds() -> float:
            return (self.now - start).total_seconds()

        return Timing(lambda: self.now, seconds, sleep, lambda: 0.5)


@dataclass
class Death:
    """Kills the process before or after its n-th call or commit, counted from 0."""

    at: int = -1
    after: bool = False
    counted: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)

    def before(self, name: str = "") -> bool:
        """About to do one: raises `Killed` where it is this one, or the process is dead; else whether to ask after."""
        if self.dead:
            raise Killed
        mine = self.counted == self.at
        self.counted += 1
        self.names.append(name)
        if mine and not self.after:
            self.dead = True
            raise Killed
        return mine

    def done(self, mine: bool) -> None:  # noqa: FBT001 - what `before` said
        """It is done."""
        if mine:
            self.dead = True
            raise Killed


@dataclass
class MortalCaller(Caller):
    """Calls that a death may come before or after."""

    death: Death = field(default_factory=Death)

    async def _once(self, service: str, method: str, params: Mapping[str, Any], tried: int) -> Mapping[str, Any]:
        mine = self.death.before(method)
        answer = await super()._once(service, method, params, tried)
        self.death.done(mine)
        return answer


class MortalJournal(Journal):
    """Commits that a death may come before or after."""

    death: Death

    def add(self, plan: str, item: str, event: Event, /, **told: Any) -> Row:
        """See `Journal`."""
        mine = self.death.before()
        row = super().add(plan, item, event, **told)
        self.death.done(mine)
        return row


@dataclass
class SameCaller:
    """One caller for all tasks."""

    caller: Caller

    def reading(self, _item: Item) -> Caller:
        """See `Callers`."""
        return self.caller

    rotating = retiring = reading


@dataclass
class World:
    """A cloud with users that each have a key in use; what is done to one of them is not seen by the others."""

    cloud: EmbeddedOrganisation
    clock: Clock
    fault: Callable[[Call], Fault | None] = lambda _call: None
    used: list[str] = field(default_factory=list)
    """Keys that the application used, in order."""
    told: list[Notice] = field(default_factory=list)

    def caller(self, death: Death | None = None) -> Caller:
        """A role in the other account."""
        clients: Clients = shared_clients(connect(self.cloud, read_timeout=2.0))
        timing = self.clock.timing
        death = death or Death()
        ambient = MortalCaller(clients, clients.ambient(), "aws", timing, attempts=2, death=death)
        account = Account(OTHER, "other", role_name=self.cloud.role_name, external_id=self.cloud.external_id)
        session = RoleSession(account, ambient, "test", 3600, timing)
        return MortalCaller(clients, session, "aws", timing, attempts=2, death=death)

    def keys(self, user: str) -> dict[str, str]:
        """The user's keys and their status, as moto has them."""
        backend = iam_backends[OTHER]["aws"]
        return {key.access_key_id: key.status for key in backend.users[user].access_keys}

    def make_key(self, user: str) -> str:
        """Somebody makes another key for the user; its id."""
        key = iam_backends[OTHER]["aws"].create_access_key(user)
        key.create_date = self.clock.now.replace(tzinfo=None)
        return str(key.access_key_id)

    def delete_key(self, user: str, key_id: str) -> None:
        """Somebody deletes a key of the user."""
        iam_backends[OTHER]["aws"].delete_access_key(key_id, user)

    def created(self, user: str, key_id: str) -> datetime:
        """When a key of the user was made, as moto has it."""
        keys = iam_backends[OTHER]["aws"].users[user].access_keys
        at = next(key.create_date for key in keys if key.access_key_id == key_id)
        return at.replace(tzinfo=UTC, microsecond=0)

    def stored(self, secret: str, version: str | None = None) -> dict[str, Any] | None:
        """The value of a secret that applications read, or of one of its versions."""
        found = secretsmanager_backends[OTHER]["us-east-1"].secrets.get(secret)
        if found is None:
            return None
        for name, one in found.versions.items():
            if name == version or (version is None and "AWSCURRENT" in one["version_stages"]):
                value: dict[str, Any] = json.loads(one["secret_string"])
                return value
        return None

    def application_runs(self, item: Item) -> None:
        """The application reads its secret, or goes on with the key that it had, and uses it."""
        value = self.stored(item.delivery.secret) if item.delivery else None
        key = value.get("AccessKeyId", item.key.id) if value else item.key.id
        status = self.keys(item.user).get(str(key))
        assert status == "Active", f"the application's key {key} is {status}"
        self.used.append(str(key))
        self.cloud.record_use(str(key), UsedAt(self.clock.now, "s3", "eu-central-1"))


def user_seed(name: str) -> UserSeed:
    """A user with one key of 200 days, used an hour ago."""
    return UserSeed(name, (KeySeed(created_at=ago(200), last_used=UsedAt(ago(0.05), "s3", "eu-central-1")),))


def item_of(world: World, user: str, kind: Kind = Kind.ROTATE, through: Kind = Kind.DELETE, **changes: Any) -> Item:
    """The item for a user's only key."""
    backend = iam_backends[OTHER]["aws"]
    ((key_id, status),) = world.keys(user).items()
    item = Item(
        id=f"item-{user}",
        kind=kind,
        through=through,
        account_id=OTHER,
        account_name="other",
        partition="aws",
        user=user,
        user_id=backend.users[user].id,
        key=PlannedKey(id=key_id, created_at=ago(200), status=KeyStatus(status), last_used=Use(at=ago(0.05))),
        basis=(Basis(control="key-age", severity="high", reason="200 days old"),),
        owner="payments",
        delivery=Delivery(secret=f"auditor/{user}", region="us-east-1") if kind is Kind.ROTATE else None,
        waits=Waits(grace_days=7, quiet_days=2, quarantine_days=14),
    )
    return item.model_copy(update=changes)


def due_item(world: World, user: str, kind: Kind, **changes: Any) -> Item:
    """A key to be switched off, or one that was switched off long ago and is to be deleted."""
    item = item_of(world, user, kind, kind, **changes)
    if kind is not Kind.DELETE:
        return item
    iam_backends[OTHER]["aws"].update_access_key(user, item.key.id, "Inactive")
    key = item.key.model_copy(update={"status": KeyStatus.INACTIVE})
    return item.model_copy(update={"key": key, "inactive_since": ago(100)})


def plan_of(*items: Item, at: datetime = AS_OF) -> Plan:
    """A plan of these items."""
    return Plan(
        id="plan-1",
        created_at=at,
        expires_at=at + timedelta(hours=72),
        author=Author(person="ann@example.com", arn=f"arn:aws:iam::{MAIN}:user/ann", account_id=MAIN),
        tool_version="0",
        run_id="20261122T190000Z-00000000",
        run_sha256="0" * 64,
        approvers_sha256="0" * 64,
        accounts_read=1,
        limits=Limits(max_items=25, max_per_account=5, max_percent=100, max_disruptions_per_tick=5),
        items=items,
    )


@contextmanager
def engine(
    world: World, folder: Path, *, death: Death | None = None, commits: Death | None = None, **options: Any
) -> Iterator[Engine]:
    """An engine on the journal of a folder, as a process that may be killed."""
    caller = world.caller(death)
    with open_journal(folder, lambda: world.clock.now) as opened:
        journal: Journal = opened
        if commits is not None:
            mortal = MortalJournal.__new__(MortalJournal)
            mortal.__dict__.update(opened.__dict__)
            mortal.death = commits
            journal = mortal

        def terms(tracked: Tracked) -> Terms:
            return Terms(world.clock.now, tracked.approved, may_begin=world.clock.now < tracked.expires_at)

        yield Engine(
            journal,
            lambda item: Hands(item, SameCaller(caller), Protection()),
            terms,
            options.pop("tell", world.told.append),
            options.pop("most_disruptions", 5),
            **options,
        )


def claim(world: World, folder: Path, plan: Plan, through: Kind | None = None) -> None:
    """The plan is in the journal, approved as far as its items go."""
    with open_journal(folder, lambda: world.clock.now) as journal:
        document = plan.model_dump(mode="json", by_alias=True)
        journal.add(plan.id, "", Event.CLAIMED, plan=document)
        journal.add(plan.id, "", Event.APPROVED, through={it.id: (through or it.through).value for it in plan.items})


def tick(world: World, folder: Path, **options: Any) -> list[Outcome]:
    """One tick of a process that lives, or is killed."""
    try:
        with engine(world, folder, **options) as made:
            return list(made.tick())
    except Killed:
        return []


def tracked(world: World, folder: Path, item: Item) -> Tracked:
    """The item as its journal tells."""
    with open_journal(folder, lambda: world.clock.now, writes=False) as journal:
        return fold(journal.rows).items[item.id]
