"""Remediation as its commands need it, told in order: plan, approve, apply, tick, and what a person does in between.

Nothing here decides about a key: `auditor.remediation` does. This module brings it the run, the configuration, callers
in the accounts, and the clock.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from auditor import __version__
from auditor.aws.calls import Caller
from auditor.aws.clients import Connection, shared_clients
from auditor.aws.identity import Identity, caller_identity
from auditor.aws.key_writes import set_key_status
from auditor.aws.loop import run
from auditor.aws.spending import Ledger as Spending
from auditor.aws.timing import Timing
from auditor.config import AccountEntry, AccountOverride, Config
from auditor.config.remediation_records import Day, WindowConfig
from auditor.errors import ApprovalError, CapError, OutputError, UsageError
from auditor.gather.entering import enter
from auditor.history import done_accounts, load_manifest
from auditor.history.raw import read_result
from auditor.judging import Kept
from auditor.model import Account, AccountFacts, KeyStatus, Outcome
from auditor.policy.scopes import Place
from auditor.remediation.approval import Approval, Approvers, Rules, approved, read_approval
from auditor.remediation.engine import Engine, Notice
from auditor.remediation.engine import Outcome as ItemOutcome
from auditor.remediation.hands import Hands, see, store_of
from auditor.remediation.journal import Event, Journal, open_journal
from auditor.remediation.lifecycle import Step, Terms
from auditor.remediation.orphans import Orphan, find_orphans
from auditor.remediation.plan import Author, Delivery, Item, Kind, Limits, Plan, Waits, days, read_plan
from auditor.remediation.planning import Candidate, Seen, Settings, candidates_of, plan_items
from auditor.remediation.progress import Ledger, Tracked, fold
from auditor.remediation.protection import Protection

ATTEMPTS = 6
SESSION_SECONDS = 3600

OLDEST_RUN = timedelta(hours=24)
"""A plan rests on a run that is no older: what is older is judged anew first."""


@dataclass
class Accounts:
    """Callers in accounts, one for each task; made when they are first needed."""

    config: Config
    connection: Connection
    timing: Timing
    found: Mapping[str, Account]
    """The accounts as the run entered them."""
    _callers: dict[tuple[str, str | None], Caller] = field(default_factory=dict)

    def reading(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, None)

    def rotating(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, self.config.remediation.roles.rotate)

    def retiring(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, self.config.remediation.roles.retire)

    def caller(self, account_id: str, role: str | None) -> Caller:
        """A caller in the account, in this role or in the one that reads.

        Raises:
            AwsFailure: the account cannot be entered.
            UsageError: the run knows no such account.
        """
        if account_id not in self.found:
            what = f"How account {account_id} is entered is not known."
            raise UsageError(what, next_step="Name it in the configuration, or audit it first.")
        account = self.found[account_id]
        account = replace(account, role_name=role or account.role_name)
        if (account_id, account.role_name) not in self._callers:
            entering = _Entering(self.connection, self.config.accounts.session_name, self.timing)
            self._callers[account_id, account.role_name] = run(enter(account, entering, Spending()))
        return self._callers[account_id, account.role_name]


@dataclass(frozen=True, slots=True)
class _Entering:
    """How accounts are entered; see `auditor.gather.entering.EnteringSettings`."""

    connection: Connection
    session_name: str
    timing: Timing
    session_seconds: int = SESSION_SECONDS
    attempts: int = ATTEMPTS


@dataclass(frozen=True, slots=True)
class _Judged:
    """An account of a run: what it found, and how many keys there are active, and in use."""

    id: str
    candidates: tuple[Candidate, ...]
    active_keys: int
    in_use: int


@dataclass
class Remedy:
    """See the module."""

    config: Config
    connection: Connection
    home: Path
    """What paths of the configuration are relative to."""
    timing: Timing = field(default_factory=Timing)

    # ------------------------------------------------------------------------------------------------- who and where

    @property
    def folder(self) -> Path:
        """Of the journal and of plans."""
        return Path(self.config.remediation.folder)

    def approvers(self) -> Approvers:
        """Who may approve; UsageError where the configuration does not say."""
        path = self.config.remediation.approval.allowed_signers
        if path is None:
            step = "Name a file of OpenSSH's allowed_signers form in remediation.approval.allowed_signers."
            raise UsageError("Nobody may approve plans.", where="remediation.approval", next_step=step)
        return Approvers.read(self.home / path)

    def identity(self) -> tuple[Identity, frozenset[str]]:
        """Who runs this, and the keys that sign its calls.

        Raises:
            ApprovalError: this machine's clock is wrong, so that nothing here would be when it says.
            AwsFailure: AWS does not know the caller.
        """
        clients = shared_clients(self.connection)
        ambient = clients.ambient()
        who = run(caller_identity(Caller(clients, ambient, "", self.timing, 2)))
        if who.answered_at is not None and abs(who.answered_at - self.timing.now()) > timedelta(seconds=60):
            what = "This machine's clock is off by more than a minute from AWS's."
            raise ApprovalError(what, next_step="Set the clock: expiry, age and waiting depend on it.")
        return who, frozenset({str(run(ambient.frozen()).access_key)})

    def accounts(self, folder: Path) -> Accounts:
        """The accounts of a run, to be entered as it did."""
        found = {}
        for account_id, _ in done_accounts(folder):
            _, external = self._entry(account_id)
            found[account_id] = replace(read_result(folder, account_id).account, external_id=external)
        return Accounts(self.config, self.connection, self.timing, found)

    def _entry(self, account_id: str) -> tuple[str | None, str | None]:
        """The role that reads an account, and its external id, as the configuration says now."""
        accounts = self.config.accounts
        entries: tuple[AccountEntry | AccountOverride, ...] = (*accounts.override, *accounts.list)
        entry = next((one for one in entries if one.id == account_id), None)
        role, external = (entry.role_name, entry.external_id) if entry else (None, None)
        return role or accounts.role_name, external or accounts.external_id

    def protection(self, account: Account | None) -> Protection:
        """Who is protected, in an account."""
        protected, policy = self.config.remediation.protected, self.config.to_policy()
        place = Place(account.units, account.unit_names) if account else Place()
        return Protection(protected.to_scopes(), protected.groups, policy.exemptions, place)

    def delivery(self, user: str) -> Delivery:
        """Where the secret of a user's new key goes."""
        secrets = self.config.remediation.secrets
        return Delivery(
            store=secrets.store.value,
            secret=secrets.name_of(user),
            region=secrets.region,
            kms_key=secrets.kms_key,
            smtp_regions=secrets.smtp_regions,
        )

    # ------------------------------------------------------------------------------------------------- plan

    def plan(self, folder: Path, author: str, kinds: frozenset[Kind], through: Kind, only: Sequence[str] = ()) -> Plan:
        """A plan of what may be done about a run's findings, as AWS shows the users now; nothing is written in AWS.

        Args:
            folder: the run's.
            author: who plans, as approvers are named; it may not approve.
            kinds: what may be planned.
            through: how far rotated and switched-off keys are taken.
            only: account ids; none means all.

        Raises:
            UsageError: the run is too old, or nobody may approve.
            AwsFailure: AWS does not know the caller.
        """
        manifest, now = load_manifest(folder), self.timing.now()
        if now - manifest.as_of > OLDEST_RUN:
            what = f"The run is of {manifest.as_of:%Y-%m-%d %H:%M}Z; a plan rests on one of the last 24 hours."
            raise UsageError(what, where=folder.name, next_step="Run `auditor audit`, and plan with that run.")
        approvers, (who, own_keys) = self.approvers(), self.identity()
        accounts, config = self.accounts(folder), self.config.remediation
        judged = list(self._judged(folder, manifest.as_of))
        settings = self._settings(kinds, through, accounts, own_keys, judged)
        chosen = [one for account in judged for one in account.candidates if not only or account.id in only]
        items, blocked = plan_items(chosen, lambda candidate: self._seen(candidate, accounts), settings)
        return Plan(
            id=f"plan-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}",
            created_at=now,
            expires_at=now + timedelta(hours=config.approval.plan_hours),
            author=Author(person=author, arn=who.arn, account_id=who.account_id),
            tool_version=__version__,
            run_id=manifest.id,
            run_sha256=hashlib.sha256((folder / "run.json").read_bytes()).hexdigest(),
            approvers_sha256=approvers.sha256,
            accounts_read=len(accounts.found),
            accounts_not_read=tuple(account.account_id for account in manifest.coverage.not_audited),
            limits=settings.limits,
            items=items,
            blocked=blocked,
        )

    def _settings(
        self,
        kinds: frozenset[Kind],
        through: Kind,
        accounts: Accounts,
        own_keys: frozenset[str],
        judged: Sequence["_Judged"],
    ) -> Settings:
        config = self.config.remediation
        return Settings(
            through=through,
            kinds=kinds,
            protection=lambda candidate: self.protection(accounts.found[candidate.account_id]),
            delivery=self.delivery,
            waits=Waits(
                grace_days=config.grace_days, quiet_days=config.quiet_days, quarantine_days=config.quarantine_days
            ),
            limits=Limits(
                max_items=config.max_items,
                max_per_account=config.max_per_account,
                max_percent=config.max_percent,
                max_disruptions_per_tick=config.max_disruptions_per_tick,
            ),
            active_keys=sum(account.active_keys for account in judged),
            in_use={account.id: account.in_use for account in judged},
            own_keys=own_keys,
            open_users=frozenset((it.item.account_id, it.item.user) for it in self.ledger().open()),
            now=self.timing.now(),
        )

    def _judged(self, folder: Path, as_of: datetime) -> Iterator["_Judged"]:
        quiet = as_of - days(self.config.remediation.quiet_days)
        policy = load_manifest(folder).policy
        for account_id, _ in done_accounts(folder):
            kept = Kept.read(folder, [account_id], as_of)
            if not isinstance(kept.results[0].outcome, AccountFacts):
                continue
            facts, findings = kept.judged(policy, as_of)
            failing = findings[findings["by_policy"] & findings["outcome"].eq(Outcome.NON_COMPLIANT.value)]
            since = facts.keys[["user_arn", "slot", "inactive_since"]].drop_duplicates(["user_arn", "slot"])
            rows = failing.merge(since, how="left", on=["user_arn", "slot"]).astype(object)
            for column in rows:
                rows[column] = rows[column].where(rows[column].notna(), None)
            active = facts.keys["key_status"].eq(KeyStatus.ACTIVE.value).fillna(value=False)
            in_use = active & facts.keys["last_used_at"].gt(quiet).fillna(value=False)
            found = candidates_of(
                {
                    str(name): value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
                    for name, value in row.items()
                }
                for row in rows.to_dict("records")
            )
            yield _Judged(account_id, tuple(found), int(active.sum()), int(in_use.sum()))

    def _seen(self, candidate: Candidate, accounts: Accounts) -> Seen | None:
        groups = bool(self.config.remediation.protected.groups)
        reading = accounts.caller(candidate.account_id, None)
        found = run(see(reading, candidate.account_id, candidate.user, with_groups=groups))
        if found is None:
            return None
        stored = None
        if candidate.kind is Kind.ROTATE:
            delivery = self.delivery(candidate.user)
            rotating = accounts.caller(candidate.account_id, self.config.remediation.roles.rotate)
            stored = run(store_of(rotating, delivery).look())
        return Seen(*found, stored)

    # ------------------------------------------------------------------------------------------------- apply, tick

    def ledger(self) -> Ledger:
        """All that was ever claimed, and how it stands; nothing where there is no journal yet."""
        if not (self.folder / "journal.sqlite").exists():
            return Ledger()
        with open_journal(self.folder, self.timing.now, writes=False) as journal:
            return fold(journal.rows)

    @contextmanager
    def writing(self) -> Iterator[Journal]:
        """The journal, for this process alone."""
        with open_journal(self.folder, self.timing.now) as journal:
            yield journal

    def claim(self, plan: Plan, approvals: Sequence[Approval]) -> dict[str, Kind]:
        """Take an approved plan into the journal, or more approvals of one that is there; how far items are approved.

        Raises:
            UsageError: the plan is empty.
            ApprovalError: the plan is not approved, changed, expired, or of other approvers.
            CapError: it has more keys than the configuration allows now.
        """
        if not plan.items:
            raise UsageError("The plan has nothing in it.", where=plan.id, next_step="Nothing is to be done.")
        now, config = self.timing.now(), self.config.remediation
        rules = Rules(config.approval.persons, config.approval.persons_for_deletion, plan.author.person)
        through = approved(plan, approvals, self.approvers(), rules, now)
        if not through:
            what = "Not enough persons approved this plan, or any part of it."
            step = f"`auditor remediate approve` it; code {plan.code}."
            raise ApprovalError(what, where=plan.id, next_step=step)
        per_account = max((sum(it.account_id == one.account_id for it in plan.items) for one in plan.items), default=0)
        if len(plan.items) > config.max_items or per_account > config.max_per_account:
            what = f"The plan has {len(plan.items)} keys, up to {per_account} in an account: more than the caps allow."
            raise CapError(what, where=plan.id, next_step="Plan anew with today's caps; nothing was done.")
        with self.writing() as journal:
            ledger = fold(journal.rows)
            known = ledger.plans.get(plan.id)
            if known is None:
                if now >= plan.expires_at:
                    step = "Plan anew, and have it approved."
                    raise ApprovalError("The plan has expired.", where=plan.id, next_step=step)
                journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
            elif known.digest != plan.digest:
                raise ApprovalError("Another plan of this name was applied.", where=plan.id, next_step="Plan anew.")
            before = {item.id: ledger.items[item.id].approved for item in plan.items if item.id in ledger.items}
            if {name: kind for name, kind in before.items() if kind} != through:
                journal.add(
                    plan.id,
                    "",
                    Event.APPROVED,
                    through={name: kind.value for name, kind in through.items()},
                    by=sorted({one.statement.approver for one in approvals}),
                    signatures=[json.loads(one.model_dump_json()) for one in approvals],
                )
        return through

    def advance(
        self,
        tell: Callable[[Notice], None],
        *,
        plan: Plan | None = None,
        simulates: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[ItemOutcome]:
        """Take the items of a plan, or all that are open, as far as they may go now.

        Raises:
            ApprovalError: somebody else is at work.
            AwsFailure: AWS does not know the caller.
        """
        _, own_keys = self.identity()
        with self._journal(plan if simulates else None, writes=not simulates) as journal:
            ledger = fold(journal.rows)
            accounts = self._accounts_of(ledger)

            def hands(item: Item) -> Hands:
                return Hands(item, accounts, self.protection(accounts.found.get(item.account_id)))

            def terms(tracked: Tracked) -> Terms:
                now = self.timing.now()
                closed = closed_at(now, self.config.remediation.window)
                return Terms(now, tracked.approved, now < tracked.expires_at, closed, tuple(own_keys))

            most = self.config.remediation.max_disruptions_per_tick
            engine = Engine(journal, hands, terms, tell, most, stopping, simulates)
            yield from engine.tick([item.id for item in plan.items] if plan else None)

    @contextmanager
    def _journal(self, simulated: Plan | None, *, writes: bool) -> Iterator[Journal]:
        """The journal; or one for a moment, in which a plan that is simulated is claimed and wholly approved."""
        if simulated is None:
            with open_journal(self.folder, self.timing.now, writes=writes) as journal:
                yield journal
            return
        with tempfile.TemporaryDirectory() as folder, open_journal(Path(folder), self.timing.now) as journal:
            journal.add(simulated.id, "", Event.CLAIMED, plan=simulated.model_dump(mode="json", by_alias=True))
            through = {item.id: item.through.value for item in simulated.items}
            journal.add(simulated.id, "", Event.APPROVED, through=through)
            yield journal

    def _accounts_of(self, ledger: Ledger) -> Accounts:
        """The accounts of items, entered as the configuration says now."""
        found = {}
        for tracked in ledger.items.values():
            item = tracked.item
            role, external = self._entry(item.account_id)
            found[item.account_id] = Account(
                item.account_id, item.account_name, item.partition, role_name=role, external_id=external
            )
        return Accounts(self.config, self.connection, self.timing, found)

    def orphans(self, only: Sequence[str] = ()) -> list[Orphan]:
        """Keys that were made here and whose secret nobody can have; of these accounts, or of all. Reads only."""
        ledger = self.ledger()
        accounts = self._accounts_of(ledger)
        chosen = [one for one in ledger.items.values() if not only or one.item.account_id in only]
        return find_orphans(chosen, lambda item: Hands(item, accounts, Protection()))

    # ------------------------------------------------------------------------------------------------- by hand

    def tell_journal(self, item_id: str, event: Event, **told: str) -> Tracked:
        """Write down what a person says of an item: hold, release, confirm.

        Raises:
            UsageError: there is no such item, or it is at its end.
        """
        with self.writing() as journal:
            tracked = _item(fold(journal.rows), item_id)
            if tracked.ended is not None:
                raise UsageError(f"It is at its end: {tracked.ended}.", where=item_id, next_step="Plan anew.")
            if event is Event.RELEASED and tracked.intent is not None:
                step = str(tracked.intent.told["step"])
                journal.add(tracked.plan_id, item_id, Event.RESULT, step=step, outcome="failed", why="settled by hand")
            journal.add(tracked.plan_id, item_id, event, **told)
            return _item(fold(journal.rows), item_id)

    def rollback(self, name: str, account_id: str | None, user: str | None, reason: str) -> str:
        """Switch a key on again: an item's old key, or any key of a user; the key's id. Needs no approval.

        Raises:
            UsageError: which key is meant is not known.
            AwsFailure: it cannot be switched on.
        """
        if account_id is not None and user is not None:  # the journal may be lost, or changed
            role, external = self._entry(account_id)
            account = Account(account_id, role_name=role, external_id=external)
            accounts = Accounts(self.config, self.connection, self.timing, {account_id: account})
            caller = accounts.caller(account_id, self.config.remediation.roles.retire)
            run(set_key_status(caller, user, name, KeyStatus.ACTIVE))
            return name
        tracked = self.ledger().items.get(name)
        if tracked is None:
            step = "Give the id of an item, or a key id with --account and --user."
            raise UsageError(f"There is no item {name}.", next_step=step)
        item = tracked.item
        accounts = self._accounts_of(self.ledger())
        run(set_key_status(accounts.retiring(item), item.user, item.key.id, KeyStatus.ACTIVE))
        try:  # what matters is done; the journal is told of it where it can be
            with self.writing() as journal:
                step = Step.REACTIVATE.value
                journal.add(tracked.plan_id, name, Event.INTENT, step=step, intent="rollback", keys=[item.key.id])
                journal.add(tracked.plan_id, name, Event.RESULT, step=step, outcome="done")
                if tracked.ended is None:
                    journal.add(tracked.plan_id, name, Event.HELD, reason=reason, by=_os_user())
        except (OutputError, ApprovalError) as error:
            error.add_note(f"{item.key.id} is active again all the same.")
            raise
        return item.key.id


def _item(ledger: Ledger, item_id: str) -> Tracked:
    if item_id not in ledger.items:
        step = "`auditor remediate status` lists them."
        raise UsageError(f"There is no item {item_id}.", next_step=step)
    return ledger.items[item_id]


def _os_user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def closed_at(now: datetime, window: WindowConfig) -> str | None:
    """Why no key may be switched off or deleted at this instant; None where one may."""
    local = now.astimezone(ZoneInfo(window.time_zone))
    for freeze in window.freeze:
        if freeze.starts <= local.date() <= freeze.ends:
            return f"frozen until {freeze.ends.isoformat()}: {freeze.reason}"
    if list(Day)[local.weekday()] not in window.days or not window.starts <= f"{local:%H:%M}" < window.ends:
        days = ", ".join(day.value for day in window.days)
        return f"only {days} from {window.starts} to {window.ends} ({window.time_zone})"
    return None


def load_plan(path: Path) -> Plan:
    """A plan file; UsageError where it cannot be read or is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"It cannot be read ({error.strerror}).", where=str(path), next_step="Name a plan.") from error
    return read_plan(content, str(path))


def load_approvals(plan_path: Path, more: Sequence[Path] = ()) -> list[Approval]:
    """The approvals that lie beside a plan, and others."""
    found = sorted(plan_path.parent.glob(f"{plan_path.stem}.approval-*.json"))
    approvals = []
    for path in (*found, *more):
        try:
            approvals.append(read_approval(path.read_bytes(), str(path)))
        except OSError as error:
            step = "Name an approval's file."
            raise UsageError(f"It cannot be read ({error.strerror}).", where=str(path), next_step=step) from error
    return approvals
