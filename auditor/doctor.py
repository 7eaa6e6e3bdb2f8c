"""The checkup before the first run, told in order: this machine, AWS, the scope, and every account in it.

Each check says what it found, and what to do where that is a problem. Nothing is changed: what is asked of AWS is what
an audit asks, and of the output folder only whether a file can be made there.
"""

import platform
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients, Connection, shared_clients
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import Identity, caller_identity
from auditor.aws.loop import run
from auditor.aws.timing import Timing
from auditor.config import Config, ReportFormat
from auditor.errors import NothingAuditedError, OutputError
from auditor.formats.environment import templates_folder
from auditor.formats.pdf import load_weasyprint
from auditor.formats.words import counted
from auditor.gather import Progress, Scope, resolve_scope
from auditor.gather.account import ACTIVE
from auditor.gather.checkup import AccountCheckup, Answer, CheckupSettings, check_accounts
from auditor.gather.needs import needed_actions, policy_units
from auditor.model import Account

ROOM = 1_000_000_000
"""Free bytes below which a large organisation's run may not fit: reports, tables, and their HTML."""

SKEW_NOTED = timedelta(seconds=60)
SKEW_REFUSED = timedelta(minutes=5)
"""AWS refuses a signature whose time is further off than this (AWS Signature Version 4)."""

ENTRANCE_ATTEMPTS = 2
FEW = 5
"""Accounts that are named one by one where many have the same to tell."""

EXIT_OK, EXIT_INCOMPLETE, EXIT_NOTHING = 0, 3, 4


class Health(StrEnum):
    """How a check came out: a warning leaves an audit complete, a problem does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and the next step where something is to be done."""

    subject: str
    health: Health
    found: str
    next_step: str = ""
    account_id: str | None = None
    refused: tuple[str, ...] = ()
    """Actions that are refused in this account."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every check in order, and the exit code: 0, 3 where an audit would be incomplete, 4 where it audits nothing."""

    checks: tuple[Check, ...]
    exit_code: int

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        return {
            EXIT_OK: "An audit with these settings can run completely.",
            EXIT_INCOMPLETE: "An audit with these settings would be incomplete, or not written whole.",
        }.get(self.exit_code, "An audit with these settings would audit nothing.")


def examine(
    config: Config, connection: Connection, only: Sequence[str], progress: Progress, *, timing: Timing | None = None
) -> Diagnosis:
    """Check everything that `auditor audit` will need with these settings.

    Raises:
        UsageError: what was asked for cannot be carried out as it stands.
    """
    timing = timing or Timing()
    valid = Check("configuration", Health.OK, f"It is valid; accounts: {config.accounts.source.value}.")
    checks = [libraries(config), output_folder(Path(config.output.folder)), valid]
    progress.phase("Reaching AWS")
    entered = _enter(connection, timing)
    checks += entered.checks
    if entered.identity is None:
        return Diagnosis(tuple(checks), EXIT_NOTHING)
    progress.phase("Finding accounts")
    try:
        policy = config.to_policy()
        scope = resolve_scope(config.accounts, only, connection, timing, policy_units=policy_units(policy))
    except NothingAuditedError as error:
        checks.append(Check("scope", Health.PROBLEM, str(error.what), error.next_step))
        return Diagnosis(tuple(checks), EXIT_NOTHING)
    checks += scope_checks(scope)
    settings = CheckupSettings(
        connection,
        session_name=config.accounts.session_name,
        session_seconds=scope.session_seconds(config.accounts),
        attempts=config.gather.call_attempts,
        calls_in_flight=config.gather.calls_in_flight,
        account_calls_per_second=config.gather.account_calls_per_second,
        needed=needed_actions(policy),
        root_sessions=config.accounts.root_sessions,
        without_root_sessions=scope.without_root_sessions,
        timing=timing,
    )
    active = [account for account in scope.accounts if account.state == ACTIVE]
    checkups = check_accounts(active, settings, progress)
    checks += account_checks(checkups, scope.caller.arn)
    if len(checkups) < len(active):
        left = (
            f"The other {counted(len(active) - len(checkups), 'account')} were not tried, because AWS did not answer."
        )
        step = "Run `auditor doctor` again when it answers."
        checks.append(Check("permissions", Health.PROBLEM, left, step))
    if checkups and all(checkup.failed for checkup in checkups):
        return Diagnosis(tuple(checks), EXIT_NOTHING)
    complete = all(check.health is not Health.PROBLEM for check in checks)
    return Diagnosis(tuple(checks), EXIT_OK if complete else EXIT_INCOMPLETE)


# ------------------------------------------------------------------------------------------------- this machine


def libraries(config: Config) -> Check:
    """Those that are loaded only when a report is written; without the others `auditor.cli.doctor` comes to nothing."""
    about = f"All are there, under Python {platform.python_version()}"
    try:
        templates_folder()
        if ReportFormat.PDF in config.output.formats:
            about += f"; for the PDF, WeasyPrint {load_weasyprint().__version__} with Pango"
    except (OutputError, ImportError) as error:
        step = error.next_step if isinstance(error, OutputError) else "Install auditor again with its dependencies."
        where = error.where if isinstance(error, OutputError) else "WeasyPrint"
        return Check("libraries", Health.PROBLEM, f"{where}: {getattr(error, 'what', error)}.", step)
    return Check("libraries", Health.OK, f"{about}.")


def output_folder(folder: Path) -> Check:
    """Whether a run can be written: tried with a file that is gone at once, in the nearest folder that exists."""
    whole = folder.absolute()
    try:
        there = next(place for place in (whole, *whole.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        what = f"{folder} cannot be written ({error.strerror})."
        return Check("output folder", Health.PROBLEM, what, "Name a folder that can be written with --output.")
    found = f"{folder} can be written; {free / 1e9:,.1f} GB are free."
    if free < ROOM:
        return Check("output folder", Health.WARNING, found, "Free some space: a large organisation's run takes it.")
    return Check("output folder", Health.OK, found)


# ------------------------------------------------------------------------------------------------- AWS


@dataclass(frozen=True, slots=True)
class _Entrance:
    """Who calls, where AWS let the caller in, and the checks on the way."""

    identity: Identity | None
    checks: tuple[Check, ...]


def _enter(connection: Connection, timing: Timing) -> _Entrance:
    clients = shared_clients(connection)
    try:
        caller = Caller(clients, clients.ambient(), "", timing, ENTRANCE_ATTEMPTS)
        identity = run(caller_identity(caller))
    except AwsFailure as failure:
        return _Entrance(None, tuple(_no_entrance(failure, clients, timing)))
    checks = (_reached(clients), clock(skew_of(identity.answered_at, timing)))
    return _Entrance(identity, (*checks, Check("credentials", Health.OK, f"{identity.arn}.")))


def _reached(clients: Clients) -> Check:
    return Check("endpoint", Health.OK, f"{_endpoint(clients)} answers.")


def _endpoint(clients: Clients) -> str:
    wire, _ = clients.get("sts", "")
    return wire.url.rstrip("/")


def _no_entrance(failure: AwsFailure, clients: Clients, timing: Timing) -> Iterator[Check]:
    """What is known where nobody was let in: the endpoint or the credentials are at fault, or the clock."""
    match failure.kind:
        case Kind.NO_CREDENTIALS:
            step = "Set AWS_PROFILE, or log in (`aws sso login`), or name a profile with --profile."
            yield Check("credentials", Health.PROBLEM, f"None were found, so AWS was not called. {failure}.", step)
        case Kind.UNREACHABLE | Kind.TIMED_OUT | Kind.UNREADABLE:
            step = "Check the network, the proxy, and --endpoint-url or AWS_ENDPOINT_URL if one is set."
            yield Check("endpoint", Health.PROBLEM, f"{_endpoint(clients)} gives no answer of AWS's. {failure}.", step)
        case _:
            yield _reached(clients)
            skew = skew_of(failure.answered_at, timing)
            yield clock(skew)
            step = (
                "Renew the credentials (`aws sso login`), or check AWS_PROFILE, --profile and that the key is active."
            )
            if skew and abs(skew) > SKEW_REFUSED:
                step = "Set the clock first: AWS refuses good credentials too while it is wrong."
            yield Check("credentials", Health.PROBLEM, f"{failure}.", step)


def skew_of(answered_at: datetime | None, timing: Timing) -> timedelta | None:
    """How far this machine's clock is ahead of AWS's, to a second or two; None where AWS did not tell its time."""
    return timing.now() - answered_at if answered_at else None


def clock(skew: timedelta | None) -> Check:
    """Whether AWS will take signatures made by this clock, and ages will be right."""
    if skew is None:
        return Check("clock", Health.WARNING, "It cannot be compared: the endpoint does not tell its time.")
    seconds = round(skew.total_seconds())
    if abs(skew) < SKEW_NOTED:
        return Check("clock", Health.OK, "It agrees with AWS's, to within a minute.")
    found = f"It is {abs(seconds):,} seconds {'ahead of' if seconds > 0 else 'behind'} AWS's."
    step = "Set it by NTP (timedatectl set-ntp true): AWS refuses signatures that are more than 5 minutes off."
    return Check("clock", Health.PROBLEM if abs(skew) > SKEW_REFUSED else Health.WARNING, found, step)


# ------------------------------------------------------------------------------------------------- accounts


def scope_checks(scope: Scope) -> Iterator[Check]:
    """How many accounts there are, and those that nothing can be read of."""
    yield Check("scope", Health.OK, f"{counted(len(scope.accounts), 'account')}: {scope.description}.")
    closed = [account for account in scope.accounts if account.state != ACTIVE]
    if closed:
        states = ", ".join(sorted({account.state for account in closed}))
        step = "An audit is incomplete with them: to leave them out, name them in accounts.exclude.ids."
        yield Check(
            "scope", Health.PROBLEM, f"{counted(len(closed), 'account')} not active ({states}): {named(closed)}.", step
        )


def account_checks(checkups: Sequence[AccountCheckup], caller_arn: str) -> Iterator[Check]:
    """One line for all accounts that are as they should be, and one for each that is not."""
    bad = [checkup for checkup in checkups if not checkup.is_well]
    good = [checkup for checkup in checkups if checkup.is_well]
    if good:
        share = f"{len(good):,} of {counted(len(checkups), 'account')}" if bad else counted(len(good), "account")
        untried = list(_untried(good))
        which = "all permissions that could be tried are there" if untried else "all permissions are there"
        yield Check("permissions", Health.OK, f"{share}: {which}.")
        yield from untried
    yield from _root_refused(checkups)
    for checkup in bad:
        account, failed = checkup.account, checkup.failed
        if failed:
            yield Check(_subject(account), Health.PROBLEM, failed.reason, failed.next_step, account.id)
        else:
            yield _refused(checkup, caller_arn)


def _root_refused(checkups: Iterable[AccountCheckup]) -> Iterator[Check]:
    """Accounts that cannot be entered as root; an audit is complete without, as the credential report tells of root."""
    refused = [checkup for checkup in checkups if checkup.root_refused is not None]
    if not refused:
        return
    found = (
        f"{counted(len(refused), 'root user')} cannot be asked for keys: "
        f"{named([checkup.account for checkup in refused])}. {refused[0].root_refused}."
    )
    step = (
        "The organisation needs central root access, the caller sts:AssumeRoot (`auditor iam-policy --for caller`); or "
        "set accounts.root_sessions = false. Without it the credential report's word counts."
    )
    yield Check("root sessions", Health.WARNING, found, step)


def _refused(checkup: AccountCheckup, caller_arn: str) -> Check:
    account, refused = checkup.account, checkup.with_answer(Answer.REFUSED)
    who = account.role_arn or caller_arn
    actions = tuple(trial.action for trial in refused)
    found = f"Refused to {who}: {', '.join(actions)}. AWS says: {refused[0].why.rstrip('.')}."
    untried = checkup.with_answer(Answer.UNTRIED)
    if untried:
        found += f" Not tried: {', '.join(trial.action for trial in untried)}; {untried[0].why}."
    step = (
        "Allow it there; `auditor iam-policy` prints the whole policy. Where it is allowed already, a permissions "
        "boundary or a service control policy denies it."
    )
    return Check(_subject(account), Health.PROBLEM, found, step, account.id, actions)


def _untried(checkups: Iterable[AccountCheckup]) -> Iterator[Check]:
    """What no proof was found of, because there was nobody to try it on; by what was not tried."""
    without: dict[tuple[str, ...], list[Account]] = defaultdict(list)
    for checkup in checkups:
        actions = tuple(trial.action for trial in checkup.with_answer(Answer.UNTRIED))
        if actions:
            without[actions].append(checkup.account)
    for actions, accounts in without.items():
        what = "no access key" if len(actions) == 1 else "no IAM user"
        found = f"{', '.join(actions)} could not be tried where {what} was found: {named(accounts)}."
        yield Check("permissions", Health.WARNING, found)


def _subject(account: Account) -> str:
    return f"account {account.id}" + (f" ({account.name})" if account.name else "")


def named(accounts: Sequence[Account]) -> str:
    """A few accounts by id, many by number."""
    ids = [account.id for account in accounts]
    return ", ".join(ids) if len(ids) <= FEW else f"{', '.join(ids[:FEW])} and {len(ids) - FEW:,} more"
