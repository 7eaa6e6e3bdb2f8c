"""The whole run, told in order: scope → gather → evaluate → archive → report. A line a stage.

1. The output folder is made first: if nothing can be kept, nothing is called.
2. The scope is resolved: who calls, and which accounts that means. Or report files are found.
3. Every account is gathered; its raw answers are kept before they are read. One that fails is a value.
4. What was kept is judged at one instant, `as_of`, by a pure function, some accounts at a time.
5. The run is archived in one step: it is there whole, or it is not there.
6. Reports are rendered from the archived run, as `auditor report` does later.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from auditor import __version__
from auditor.answers import REQUESTS, encode_requests
from auditor.aws.clients import Connection
from auditor.aws.failures import AwsFailure
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, Config, OutputConfig, asks_the_same, effective_toml
from auditor.errors import AuditorError, NothingAuditedError, OutputError, UsageError
from auditor.formats.findings_json import render_findings_json
from auditor.formats.masking import masked
from auditor.formats.registry import FORMATS, Format
from auditor.formats.view import ReportView, build_view
from auditor.gather import (
    GatherSettings,
    Progress,
    RawStore,
    Scope,
    expect_accounts,
    gather_accounts,
    read_reports,
    resolve_scope,
)
from auditor.gather.files import find_reports
from auditor.gather.needs import policy_units
from auditor.history import (
    JOURNAL,
    POPULATION,
    TERMS,
    Observed,
    RunWriter,
    encode_population,
    find_run,
    load_run,
    observed_inactive,
    take_over,
    write_observations,
    write_report,
)
from auditor.judging import Judged, judge
from auditor.model import (
    ControlId,
    Coverage,
    Gathered,
    JournalCopy,
    NotAuditedAccount,
    NotAuditedCode,
    Origin,
    Outcome,
    Policy,
    RunManifest,
    Severity,
    SlowAccount,
    Spent,
)
from auditor.policy import asks, criteria
from auditor.remediation.record import Record

log = logging.getLogger(__name__)

SLOWEST = 5
"""Accounts that are named for their slowness."""

UNTOUCHED = frozenset({NotAuditedCode.INTERRUPTED, NotAuditedCode.NOT_ACTIVE})
"""Why AWS was not asked at all: where others failed, these explain nothing."""

EXIT_OK, EXIT_VIOLATIONS, EXIT_INCOMPLETE = 0, 1, 3


@dataclass(frozen=True)
class AuditRequest:
    """What to audit: the configuration, and what the command line adds to it."""

    config: Config
    connection: Connection
    as_of: datetime
    only_accounts: tuple[str, ...] = ()
    report_paths: tuple[Path, ...] = ()
    """Downloaded credential reports instead of AWS; empty for AWS."""
    scheduler: str = ""
    """Address of a Dask scheduler; empty to gather on this machine."""
    resumed: Path | None = None
    """The folder of a run of the same instant, of which only what is missing is asked."""
    record: Callable[[datetime], Record | None] = lambda _: None
    """What remediation did up to an instant; None where there is no journal."""
    origin: Origin | None = None
    """Who asks for it, from where and how."""
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class WrittenReports:
    """The reports of a run: the files by format, and the formats that could not be made, with why."""

    folder: Path
    files: dict[str, Path]
    failed: dict[str, AuditorError]


@dataclass(frozen=True)
class AuditOutcome:
    """A finished audit: the run's view, its reports, and the exit code that the contract gives it."""

    view: ReportView
    reports: WrittenReports
    exit_code: int


def audit(request: AuditRequest, progress: Progress) -> AuditOutcome:
    """Gather, evaluate, archive the run, write the reports.

    Raises:
        UsageError: the request cannot be carried out as it stands; nothing of AWS was read.
        NothingAuditedError: not one account could be audited.
        OutputError: the run could not be kept.
    """
    output = Path(request.config.output.folder)
    paths = find_reports(request.report_paths)
    if paths:
        request = replace(request, config=request.config.without_aws())
    terms = effective_toml(request.config)
    if request.resumed:
        _confirm_same_terms(request.resumed, request.config)
    writer = RunWriter(output, request.as_of, terms, resumed=request.resumed)
    try:
        collected = _gather(request, paths, writer, progress)
        write_observations(writer.folder, collected.observed, [receipt.account.id for receipt in collected.receipts])
        policy, processes = request.config.to_policy(), request.config.gather.processes
        judged = judge(writer.folder, policy, request.as_of, progress, processes=processes)
        progress.phase("Archiving the run")
        run_id = writer.claim_id(judged.digest[:8])
        record, copy = _record(request)
        manifest = replace(_manifest(request, collected, judged, run_id), journal=copy)
        done = {"actions": record.actions, "pending": record.pending} if record else {}
        writer.complete(manifest, judged.parts, done)
        view = view_of(writer.folder, request.config.output)
        files = {"findings.json": render_findings_json(view), **_population(collected.scope)}
        folder = writer.finish(run_id, {**files, JOURNAL: record.journal} if record else files)
    except BaseException as error:
        kept = writer.abandon(keep_answers=not paths)
        if kept:
            error.add_note(f"What AWS answered is kept: go on with the same command and `--resume {kept.name}`.")
        raise
    finally:
        writer.close()
    formats = [chosen.value for chosen in request.config.output.formats]
    try:
        reports = write_reports(view, folder, formats, progress, mask_key_ids=request.config.output.mask_key_ids)
    except KeyboardInterrupt as interrupt:
        what = "Interrupted while the reports were written. The run is kept."
        step = f"Write them with `auditor report {folder.name}`."
        raise OutputError(what, where=str(folder), next_step=step) from interrupt
    return AuditOutcome(view, reports, exit_code(view))


def render_stored(run: str, settings: OutputConfig, progress: Progress) -> AuditOutcome:
    """Render a stored run of the settings' folder again, in their formats, without AWS.

    Raises:
        UsageError: there is no such run.
        OutputError: the run cannot be read.
    """
    folder = find_run(run, Path(settings.folder))
    view = view_of(folder, settings)
    formats = [chosen.value for chosen in settings.formats]
    reports = write_reports(view, folder, formats, progress, mask_key_ids=settings.mask_key_ids)
    return AuditOutcome(view, reports, exit_code(view))


def view_of(folder: Path, settings: OutputConfig) -> ReportView:
    """What every report of a stored run says under these settings; raises OutputError where it cannot be read."""
    return build_view(
        load_run(folder),
        printed_rows=settings.pdf_max_rows,
        group_by=settings.group_by,
        actions_of=timedelta(days=settings.actions_days),
    )


def show_stored(run: str, output: Path) -> AuditOutcome:
    """A stored run with the reports that lie in its folder; raises as `render_stored`."""
    folder = find_run(run, output)
    view = build_view(load_run(folder))
    files = {name: folder / chosen.file_name for name, chosen in FORMATS.items()}
    there = {name: path for name, path in files.items() if path.is_file()}
    return AuditOutcome(view, WrittenReports(folder, there, {}), exit_code(view))


def write_reports(
    view: ReportView, folder: Path, formats: Iterable[str], progress: Progress, *, mask_key_ids: bool = False
) -> WrittenReports:
    """Render the formats into a run's folder, those for people with masked key ids; one that fails costs no other."""
    chosen = list(dict.fromkeys(formats))
    progress.phase("Writing reports", len(chosen))
    files: dict[str, Path] = {}
    failed: dict[str, AuditorError] = {}
    for name in chosen:
        report = FORMATS[name]
        try:
            files[name] = write_report(folder, report.file_name, rendered(report, view, mask_key_ids=mask_key_ids))
        except OutputError as error:
            failed[name] = error
        except Exception as error:  # the run is archived; a report's defect must not deny it
            log.debug("%s", report.file_name, exc_info=True)
            what = f"The report could not be made, by a defect of auditor ({type(error).__name__}: {error})."
            step = "The run and its other reports are kept; run `auditor report` with -vv and report what it prints."
            failed[name] = OutputError(what, where=report.file_name, next_step=step)
        progress.advance(report.file_name)
    return WrittenReports(folder, files, failed)


def rendered(report: Format, view: ReportView, *, mask_key_ids: bool) -> bytes:
    """A report's bytes; one for people with masked key ids, where that is wanted."""
    return report.render(masked(view) if mask_key_ids and report.is_for_people else view)


def exit_code(view: ReportView) -> int:
    """The contract's exit code of a run: 3 outranks 1."""
    manifest = view.manifest
    fail_on = manifest.fail_on
    if not manifest.is_complete:
        return EXIT_INCOMPLETE
    violated = any(
        finding.outcome == Outcome.NON_COMPLIANT.value and Severity(finding.severity).rank >= fail_on.rank
        for finding in view.findings
    )
    return EXIT_VIOLATIONS if violated else EXIT_OK


# ------------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class _Collected:
    """The receipts of every account in scope, by account id; without a scope they are of downloaded reports."""

    started_at: datetime
    scope: Scope | None
    receipts: Sequence[Gathered]
    observed: Observed
    """What earlier runs saw of inactive keys."""
    resumed: int = 0
    """Accounts that an earlier run, now gone on with, had audited."""


def _gather(request: AuditRequest, paths: Sequence[Path], writer: RunWriter, progress: Progress) -> _Collected:
    started_at = request.timing.now()
    if paths:
        progress.phase("Reading reports", len(paths))
        read = _audited(read_reports(paths, writer.answers, progress))
        return _Collected(started_at, None, read, _observed(request, [receipt.account.id for receipt in read]))
    progress.phase("Finding accounts")

    def found(many: int) -> None:
        progress.status(f"{many:,} so far")
        if not request.scheduler:
            expect_accounts(many, request.config.gather.processes)

    scope = resolve_scope(
        request.config.accounts,
        request.only_accounts,
        request.connection,
        request.timing,
        found,
        policy_units=policy_units(request.config.to_policy()),
    )
    in_scope = {account.id: account for account in scope.accounts}
    done = take_over(request.resumed, writer.folder, in_scope) if request.resumed else ()
    writer.keep(REQUESTS, encode_requests(scope.requests))
    audited = {receipt.account.id for receipt in done}
    missing = [account for account in scope.accounts if account.id not in audited]
    progress.phase("Auditing accounts", len(missing))
    observed = _observed(request, in_scope)
    settings = _settings(request, writer.answers, scope, observed)
    with closing(gather_accounts(missing, settings, progress)) as receipts:
        return _Collected(started_at, scope, _audited([*done, *receipts]), observed, len(done))


def _observed(request: AuditRequest, accounts: Collection[str]) -> Observed:
    """What earlier runs saw of inactive keys: judged or not, for this run hands it on to the next."""
    return observed_inactive(Path(request.config.output.folder), accounts, request.as_of)


def _due_for_deletion(observed: Observed, policy: Policy, as_of: datetime) -> dict[str, tuple[str, ...]]:
    """Users, by account id, whose inactive keys have been seen for long: to delete a key, one needs its id."""
    if not asks(policy, ControlId.INACTIVE_KEY_RETAINED):
        return {}
    control = ControlId.INACTIVE_KEY_RETAINED
    limits = [asked.criterion.limit for asked in criteria(policy) if asked.control is control]
    limits += [rule.limit for rule in policy.limits if rule.control is control]
    shortest = min((limit.maximum for limit in limits if limit), default=policy.inactive_retained.maximum)
    latest = as_of + policy.warning_window - shortest
    due = {account: [key for key in keys if key.since <= latest] for account, keys in observed.items()}
    return {account: tuple(key.user_arn.rpartition("/")[2] for key in keys) for account, keys in due.items() if keys}


def _confirm_same_terms(resumed: Path, config: Config) -> None:
    """Which users were looked up live depends on the policy: another one would be judged on answers it did not ask."""
    try:
        stored = (resumed / TERMS).read_text(encoding="utf-8")
        is_same = asks_the_same(stored, config)
    except (OSError, ValueError, UsageError):
        is_same = False
    if not is_same:
        what = "It was begun under another policy, with other owner tags or gather.key_ids, or for other accounts."
        step = "Resume it with the configuration that it was begun with, or run the audit without --resume."
        raise UsageError(what, where=str(resumed), next_step=step)


def _audited(receipts: Iterable[Gathered]) -> list[Gathered]:
    """All receipts; NothingAuditedError where no account was audited, because an empty report proves nothing."""
    found = sorted(receipts, key=lambda receipt: receipt.account.id)
    refused = _not_audited(found)
    if len(refused) < len(found):
        return found
    if all(missing.code is NotAuditedCode.INTERRUPTED for missing in refused):
        raise NothingAuditedError("Interrupted before any account was done.", next_step="Run the audit again.")
    curable = [missing for missing in refused if missing.code not in UNTOUCHED] or refused
    alike = Counter(missing.code for missing in curable).most_common(1)[0][0]
    first = next(missing for missing in curable if missing.code is alike)
    where = f"account {first.account_id}" if first.account_id.isdigit() else ""
    raise NothingAuditedError(f"{first.reason}{_all_of(refused)}", where=where, next_step=first.next_step)


def _all_of(refused: Sequence[NotAuditedAccount]) -> str:
    """Of several, how many ended how."""
    if len(refused) == 1:
        return ""
    counted = Counter(missing.code.value.replace("_", " ") for missing in refused).most_common()
    return f" None of {len(refused):,} was audited: {', '.join(f'{count:,} {code}' for code, count in counted)}."


def _manifest(request: AuditRequest, collected: _Collected, judged: Judged, run_id: str) -> RunManifest:
    config, scope, receipts = request.config, collected.scope, collected.receipts
    refused = _not_audited(receipts)
    population = scope.population if scope else ()
    spent = _spent([*([scope.spent] if scope else ()), *(receipt.spent for receipt in receipts)])
    return RunManifest(
        id=run_id,
        as_of=request.as_of,
        started_at=collected.started_at,
        finished_at=request.timing.now(),
        tool_version=__version__,
        caller_arn=scope.caller.arn if scope else None,
        scope=scope.description if scope else f"{len(receipts)} downloaded credential reports",
        organisation=config.output.organisation or "",
        coverage=Coverage(
            accounts_in_scope=len(receipts),
            accounts_audited=len(receipts) - len(refused),
            not_audited=tuple(refused),
            users=judged.users,
            keys=judged.keys,
            organisation_accounts=len(population) or None,
            left_out=sum(entry.left_out is not None for entry in population),
            audited_in_part=judged.in_part,
        ),
        summary=judged.tally.summary(),
        calls=dict(sorted(spent.calls.items())),
        throttles=spent.throttles,
        retries=spent.retries,
        slowest=_slowest(receipts),
        policy=config.to_policy(),
        frameworks=judged.by_framework(config.to_policy()),
        exemptions=judged.tally.exemptions,
        failing=judged.tally.failing,
        undecided=judged.tally.undecided,
        excused=judged.tally.excused,
        rules=judged.tally.rules,
        key_ids=config.gather.key_ids if scope else "none",
        notes=_notes(collected, judged.newer, config.accounts),
        fail_on=config.output.fail_on,
        origin=request.origin,
    )


def _record(request: AuditRequest) -> tuple[Record | None, JournalCopy | None]:
    """What remediation did, and what the run says that it has of it; a journal that cannot be read is no empty one."""
    try:
        found = request.record(request.as_of)
    except (AuditorError, AwsFailure) as error:
        return None, JournalCopy(problem=str(error))
    return found, JournalCopy(found.rows, found.head) if found else None


def _population(scope: Scope | None) -> dict[str, bytes]:
    return {POPULATION: encode_population(scope.population)} if scope and scope.population else {}


def _settings(request: AuditRequest, store: RawStore, scope: Scope, observed: Observed) -> GatherSettings:
    config = request.config
    return GatherSettings(
        connection=request.connection,
        policy=config.to_policy(),
        as_of=request.as_of,
        store=store,
        session_name=config.accounts.session_name,
        session_seconds=scope.session_seconds(config.accounts),
        report_wait_seconds=config.gather.report_wait_minutes * 60.0,
        attempts=config.gather.call_attempts,
        scheduler=request.scheduler,
        processes=config.gather.processes,
        calls_in_flight=config.gather.calls_in_flight,
        account_calls_in_flight=config.gather.account_calls_in_flight,
        account_calls_per_second=config.gather.account_calls_per_second,
        every_key=config.gather.key_ids == "all",
        also=_due_for_deletion(observed, config.to_policy(), request.as_of),
        root_sessions=config.accounts.root_sessions,
        without_root_sessions=scope.without_root_sessions,
        timing=request.timing,
    )


def _not_audited(receipts: Iterable[Gathered]) -> list[NotAuditedAccount]:
    return [
        NotAuditedAccount(receipt.account.id, receipt.account.name, why.code, why.reason, why.next_step)
        for receipt in receipts
        if (why := receipt.not_audited)
    ]


def _spent(parts: Collection[Spent]) -> Spent:
    calls = Counter[str]()
    for part in parts:
        calls.update(part.calls)
    return Spent(calls, sum(part.throttles for part in parts), sum(part.retries for part in parts))


def _slowest(receipts: Iterable[Gathered]) -> tuple[SlowAccount, ...]:
    slow = heapq.nlargest(SLOWEST, receipts, key=lambda receipt: receipt.spent.seconds)
    return tuple(
        SlowAccount(
            receipt.account.id,
            receipt.account.name,
            receipt.spent.seconds,
            sum(receipt.spent.calls.values()),
            receipt.spent.throttles,
            receipt.spent.retries,
        )
        for receipt in slow
        if receipt.spent.calls
    )


def _notes(collected: _Collected, newer: int, wanted: AccountsConfig) -> tuple[str, ...]:
    """What a reader of the whole run must know beside its numbers."""
    notes, scope = [], collected.scope
    if collected.resumed:
        many = f"{collected.resumed} accounts had" if collected.resumed > 1 else "One account had"
        notes.append(f"The run was resumed: {many} been audited before.")
    if any(why.code is NotAuditedCode.INTERRUPTED for receipt in collected.receipts if (why := receipt.not_audited)):
        notes.append("The run was interrupted before every account was done.")
    if scope and scope.session_seconds(wanted) < wanted.session_minutes * 60:
        notes.append(
            "Role sessions were asked for 60 minutes, less than configured: the caller is a role itself, and AWS gives "
            "no more where one role is assumed from another."
        )
    if newer:
        notes.append(
            f"The facts of {newer} accounts are newer than the instant of judgement: what was changed, deleted or "
            "used in between is judged as it is now, and keys created in between are left out."
        )
    return tuple(notes)
