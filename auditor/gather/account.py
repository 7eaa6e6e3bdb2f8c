"""One account, one unit of work: enter it, fetch its report, look up what is about to be flagged."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from auditor.aws.calls import Caller
from auditor.aws.clients import CredentialSource, shared_clients
from auditor.aws.credential_report import FetchedReport, ReportRefusedError, fetch_credential_report
from auditor.aws.failures import AwsFailure
from auditor.aws.identity import RoleSession
from auditor.aws.keys import follow_renamed, list_users, look_up_user, root_keys_present
from auditor.credential_report import WrongAccountError, parse_credential_report
from auditor.errors import AuditorError, ReportFormatError
from auditor.gather.answers import encode_listing, encode_lookups, encode_response
from auditor.gather.failures import not_audited
from auditor.gather.settings import GatherSettings
from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    CredentialReport,
    ListedUser,
    NotAudited,
    NotAuditedCode,
    ReportMeta,
    Source,
    UserLookup,
)
from auditor.policy import users_to_look_up

log = logging.getLogger(__name__)

STALE = timedelta(hours=4, minutes=15)
"""AWS keeps a report for four hours; an older one is worth a word."""

ACTIVE = "ACTIVE"


class StopRequested(Exception):  # noqa: N818 - a request of the user's, not an error
    """The user asked to stop; raised between two calls, and by the sleep of a run that is being stopped."""


def audit_account(account: Account, settings: GatherSettings) -> AccountResult:
    """Read all that is needed of one account; every failure becomes the result's value.

    Raises:
        OutputError: the raw answers cannot be kept, which no other account would survive either.
        StopRequested: the user stopped the run.
        UsageError: AWS cannot be called at all with these settings.
    """
    counts: Counter[str] = Counter()
    if account.state != ACTIVE:
        return AccountResult(account, _not_active(account))
    try:
        outcome: AccountFacts | NotAudited = _facts(_enter(account, settings, counts), account, settings)
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
    how = outcome.reason if isinstance(outcome, NotAudited) else f"audited from its {outcome.source.value}"
    log.info("account %s: %s; %d calls", account.id, how, sum(counts.values()))
    return AccountResult(account, outcome, dict(counts))


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


def _enter(account: Account, settings: GatherSettings, counts: Counter[str]) -> Caller:
    clients = shared_clients(settings.connection)

    def caller(credentials: CredentialSource) -> Caller:
        return Caller(clients, credentials, account.partition, settings.timing, settings.attempts, counts)

    ambient = caller(clients.ambient())
    if account.role_name is None:
        return ambient
    session = RoleSession(account, ambient, settings.session_name, settings.session_seconds, settings.timing)
    session.get_frozen_credentials()  # refused here, a role is told from a missing permission
    return caller(session)


def _facts(caller: Caller, account: Account, settings: GatherSettings) -> AccountFacts:
    try:
        fetched = fetch_credential_report(caller, wait_seconds=settings.report_wait_seconds)
    except ReportRefusedError as refusal:
        return _listed_facts(caller, account, settings, str(refusal))
    return _reported_facts(caller, account, settings, fetched)


def _reported_facts(caller: Caller, account: Account, settings: GatherSettings, fetched: FetchedReport) -> AccountFacts:
    meta = ReportMeta(
        generated_at=fetched.generated_at,
        received_at=fetched.received_at,
        sha256=hashlib.sha256(fetched.content).hexdigest(),
        size=len(fetched.content),
        request_id=fetched.request_id,
    )
    settings.store.save(account.id, "credential-report.csv", fetched.content)
    settings.store.save(account.id, "response.json", encode_response(fetched, meta))
    report = parse_credential_report(
        fetched.content, origin=f"credential report of {account.id}", expected_account=account.id
    )
    chosen = users_to_look_up(report, settings.policy, settings.as_of, every_key=settings.every_key)
    lookups = follow_renamed(caller, report, {user: look_up_user(caller, user) for user in chosen})
    _keep(account, settings, lookups)
    root, notes = _root(caller, report)
    notes += _lookup_notes(lookups)
    age = fetched.received_at - fetched.generated_at
    if age > STALE:
        notes.append(f"AWS sent a credential report that was {age // timedelta(hours=1)} hours old.")
    return AccountFacts(Source.CREDENTIAL_REPORT, report, meta, (), lookups, root, tuple(notes))


def _listed_facts(caller: Caller, account: Account, settings: GatherSettings, why: str) -> AccountFacts:
    users: tuple[ListedUser, ...] = tuple(list_users(caller))
    settings.store.save(account.id, "listing.json", encode_listing(users, caller.timing.now()))
    lookups = {user.name: look_up_user(caller, user.name) for user in users}
    _keep(account, settings, lookups)
    root, notes = _root(caller, None)
    notes += _lookup_notes(lookups)
    notes.insert(0, f"AWS made no credential report in time ({why}); users and keys were listed one by one.")
    return AccountFacts(Source.LISTING, None, None, users, lookups, root, tuple(notes))


def _keep(account: Account, settings: GatherSettings, lookups: Mapping[str, UserLookup]) -> None:
    if lookups:
        settings.store.save(account.id, "keys.json", encode_lookups(lookups))


def _lookup_notes(lookups: Mapping[str, UserLookup]) -> list[str]:
    """What the look-ups could not tell, or found changed, beyond single keys."""
    notes = [
        f"User {lookup.user} was renamed to {lookup.renamed_to} after the report."
        for lookup in lookups.values()
        if lookup.renamed_to
    ]
    tagless = [lookup.tags_failed for lookup in lookups.values() if lookup.tags_failed]
    if tagless:
        notes.append(f"Owner and description are not known for {len(tagless)} of the users looked up: {tagless[0]}.")
    return notes


def _root(caller: Caller, report: CredentialReport | None) -> tuple[bool | None, list[str]]:
    """What the account summary says of root keys; asked only where the report has no root row."""
    if report is not None and report.root is not None:
        return None, []
    try:
        return root_keys_present(caller), ["No root row to read; the account summary was asked for root keys."]
    except AwsFailure as failure:
        return None, [f"Root keys are not known: no root row to read, and {failure}."]
