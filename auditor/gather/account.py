"""One account, one unit of work: enter it, fetch its report, ask what else there is, look up what is to be flagged."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from auditor import answers
from auditor.aws.calls import Caller
from auditor.aws.credential_report import FetchedReport, ReportRefusedError, fetch_credential_report
from auditor.aws.failures import AwsFailure
from auditor.aws.keys import follow_renamed, list_users, look_up_users, root_keys_present
from auditor.aws.loop import run
from auditor.aws.spending import LATER, Ledger, Pace
from auditor.credential_report import WrongAccountError, parse_credential_report
from auditor.errors import AuditorError, ReportFormatError
from auditor.gather.beside import Asking, Beside
from auditor.gather.entering import enter, settle
from auditor.gather.failures import not_audited
from auditor.gather.settings import GatherSettings, RawStore
from auditor.gather.stopping import StopRequested
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    CredentialReport,
    Gathered,
    NotAudited,
    NotAuditedCode,
    ReportMeta,
    Request,
    Source,
    UserLookup,
)
from auditor.policy import users_to_look_up
from auditor.report_columns import ReportColumns

log = logging.getLogger(__name__)

STALE = timedelta(hours=4, minutes=15)
"""AWS keeps a report for four hours; an older one is worth a word."""

ACTIVE = "ACTIVE"

REQUESTED = "requested"
LOOKED_UP = "looked up"
"""What is told of an account before it is done: its report was asked for; one of its users was looked up."""


def _tell_nobody(_told: str) -> None:
    pass


def audit_account(
    account: Account, settings: GatherSettings, ledger: Ledger | None = None, tell: Callable[[str], None] = _tell_nobody
) -> Gathered:
    """Read all that is needed of one account and keep it in the settings' store; every failure becomes a value.

    Args:
        account: the account.
        settings: how it is read, and where its answers are kept.
        ledger: bounds and counts what it spends, for somebody who has other accounts under way, or may end this one.
        tell: told `REQUESTED` when the account's report was asked for, and `LOOKED_UP` for every user looked up.

    Raises:
        OutputError: the answers cannot be kept, which no other account would survive either.
        StopRequested: the user stopped the run.
        UsageError: AWS cannot be called at all with these settings.
    """
    return run(gather_account(account, settings, ledger, tell))


async def gather_account(
    account: Account, settings: GatherSettings, ledger: Ledger | None = None, tell: Callable[[str], None] = _tell_nobody
) -> Gathered:
    """`audit_account`, for who is in the loop."""
    ledger = ledger or Ledger()
    ledger.pace = Pace(settings.account_calls_per_second)
    ledger.lanes = settings.account_calls_in_flight
    ledger.keeps_answers = True
    began = settings.timing.monotonic()
    outcome = await _outcome(account, settings, ledger, tell)
    spent = ledger.spent(round(settings.timing.monotonic() - began, 3))
    return keep(AccountResult(account, outcome, spent), settings.store, ledger.requests)


def keep(result: AccountResult, store: RawStore, requests: Iterable[Request] | None = None) -> Gathered:
    """Write how the account ended, which makes it done, and give its receipt.

    Args:
        result: how it ended.
        store: where it is written.
        requests: what was sent for it; None where nobody knows, and then nothing is said of it, nor of what a process
            sent that died before it could give the receipt.
    """
    account, outcome = result.account, result.outcome
    if requests is None:
        store.forget(account.id, answers.REQUESTS)
    else:
        store.save(account.id, answers.REQUESTS, answers.encode_requests(requests))
    store.save(account.id, answers.ACCOUNT, answers.encode_account(result))
    how = outcome.reason if isinstance(outcome, NotAudited) else f"audited from its {outcome.source.value}"
    log.info("account %s: %s; %d calls", account.id, how, sum(result.spent.calls.values()))
    return Gathered(account, outcome if isinstance(outcome, NotAudited) else None, result.spent)


async def _outcome(
    account: Account, settings: GatherSettings, ledger: Ledger, tell: Callable[[str], None]
) -> AccountFacts | NotAudited:
    if account.state != ACTIVE:
        return _not_active(account)
    outcome: AccountFacts | NotAudited
    try:
        outcome = await _facts(await enter(account, settings, ledger), account, settings, tell)
    except AwsFailure as failure:
        outcome = not_audited(account, failure)
    except ReportFormatError as error:
        outcome = _unreadable(account, error)
    except (StopRequested, AuditorError):
        raise
    except Exception as error:
        log.debug("account %s", account.id, exc_info=True)
        what = f"An unexpected {type(error).__name__}: {error}"
        step = "This is a defect of auditor: run again with -vv and report what it prints."
        outcome = NotAudited(NotAuditedCode.FAILED, what, step)
    finally:
        settle(account, settings, ledger)
    return outcome


def _not_active(account: Account) -> NotAudited:
    step = "Nothing can be read of it until AWS makes it active again; to leave it out, name it in accounts.exclude."
    return NotAudited(NotAuditedCode.NOT_ACTIVE, f"AWS Organizations says that the account is {account.state}.", step)


def _unreadable(account: Account, error: ReportFormatError) -> NotAudited:
    wrong = isinstance(error, WrongAccountError)
    code = NotAuditedCode.WRONG_ACCOUNT if wrong else NotAuditedCode.REPORT_UNREADABLE
    step = (
        f"Check whose account the endpoint and {account.role_arn or 'the credentials'} lead to."
        if wrong
        else "Run the audit again. If it stays so, AWS writes reports that this version cannot read: report it with "
        "the line named; the bytes received are kept in the run's folder."
    )
    return NotAudited(code, f"{error.where}: {error.what}", step)


@dataclass(frozen=True, slots=True)
class _Work:
    """An account that was entered, and what is under way there."""

    caller: Caller
    account: Account
    settings: GatherSettings
    tell: Callable[[str], None]
    asking: Asking

    def save(self, name: str, content: bytes) -> None:
        self.settings.store.save(self.account.id, name, content)


async def _facts(
    caller: Caller, account: Account, settings: GatherSettings, tell: Callable[[str], None]
) -> AccountFacts:
    asking = Asking(caller, account, settings)
    work = _Work(caller, account, settings, tell, asking)

    def asked() -> None:
        caller.ledger.urgency = LATER
        tell(REQUESTED)
        asking.begin()

    try:
        try:
            fetched = await fetch_credential_report(caller, wait_seconds=settings.report_wait_seconds, on_asked=asked)
        except ReportRefusedError as refusal:
            why = str(refusal)
        else:
            return await _reported_facts(work, fetched)
        return await _listed_facts(work, why)
    finally:
        await asking.leave()


async def _reported_facts(work: _Work, fetched: FetchedReport) -> AccountFacts:
    account, settings = work.account, work.settings
    meta = ReportMeta(
        generated_at=fetched.generated_at,
        received_at=fetched.received_at,
        sha256=hashlib.sha256(fetched.content).hexdigest(),
        size=len(fetched.content),
        request_id=fetched.request_id,
    )
    work.save(answers.REPORT, fetched.content)
    work.save(answers.RESPONSE, answers.encode_response(meta, fetched.states))
    report = parse_credential_report(
        fetched.content, origin=f"credential report of {account.id}", expected_account=account.id
    )
    beside = await work.asking.end()
    also = {*beside.users(), *settings.also.get(account.id, ())}
    chosen = users_to_look_up(
        report, settings.policy, settings.as_of, account=account, every_key=settings.every_key, also=also
    )
    found = await look_up_users(work.caller, chosen, lambda: work.tell(LOOKED_UP))
    lookups = await follow_renamed(work.caller, report, found)
    age = fetched.received_at - fetched.generated_at
    stale = [f"AWS sent a credential report that was {age // timedelta(hours=1)} hours old."] if age > STALE else []
    facts = AccountFacts(Source.CREDENTIAL_REPORT, report, meta, lookups=lookups)
    return await _completed(work, facts, beside, stale)


async def _listed_facts(work: _Work, why: str) -> AccountFacts:
    users = await list_users(work.caller)
    work.save(answers.LISTING, answers.encode_listing(users, work.caller.timing.now()))
    beside = await work.asking.end()
    lookups = await look_up_users(work.caller, (user.name for user in users), lambda: work.tell(LOOKED_UP))
    fallback = f"AWS made no credential report in time ({why}); users and keys were listed one by one."
    facts = AccountFacts(Source.LISTING, listed_users=users, lookups=lookups, notes=(fallback,))
    return await _completed(work, facts, beside)


async def _completed(work: _Work, facts: AccountFacts, beside: Beside, last: Sequence[str] = ()) -> AccountFacts:
    """The facts with what was asked beside them, all of it kept; `last` are notes that come after the others."""
    lookups = facts.lookups
    if beside.root:
        lookups = {**lookups, ROOT_USER: beside.root}
    if lookups:
        work.save(answers.KEYS, answers.encode_lookups(lookups))
    if beside.quarantine:
        work.save(answers.QUARANTINE, answers.encode_quarantine(beside.quarantine))
    if beside.service_credentials:
        work.save(answers.SERVICE_CREDENTIALS, answers.encode_service_credentials(beside.service_credentials))
    root, notes = await _root(work.caller, facts.report, beside.root)
    return replace(
        facts,
        lookups=lookups,
        root_keys_present=root,
        quarantine=beside.quarantine,
        service_credentials=beside.service_credentials,
        notes=(*facts.notes, *notes, *beside.notes(), *_lookup_notes(lookups), *last),
    )


def _lookup_notes(lookups: Mapping[str, UserLookup]) -> list[str]:
    """What the look-ups could not tell, or found changed, beyond single keys."""
    notes = [
        f"User {lookup.user} was renamed to {lookup.renamed_to} after the report."
        for lookup in lookups.values()
        if lookup.renamed_to
    ]
    tagless = [lookup.tags_failed for lookup in lookups.values() if lookup.tags_failed]
    if tagless:
        notes.append(f"Owners and descriptions of users looked up are not known: {tagless[0]}.")
    return notes


async def _root(
    caller: Caller, report: CredentialReport | None, root: UserLookup | None
) -> tuple[bool | None, list[str]]:
    """Whether there are root keys; asked of the account summary only where neither root row nor look-up tells."""
    if report is not None and ReportColumns.of(report.users).is_root.any():
        return None, []
    if root is not None:
        return bool(root.keys), []
    try:
        return await root_keys_present(caller), ["No root row to read; the account summary was asked for root keys."]
    except AwsFailure as failure:
        return None, [f"Root keys are not known: no root row to read, and {failure}."]
