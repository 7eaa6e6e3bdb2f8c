"""The whole run, told in order: scope → gather → evaluate → archive → report. A line a stage.

1. The output folder is made first: if nothing can be kept, nothing is called.
2. The scope is resolved: who calls, and which accounts that means. Or report files are found.
3. Every account is gathered; its raw answers are kept before they are read. One that fails is a value.
4. Everything is judged at one instant, `as_of`, by a pure function.
5. The run is archived in one step: it is there whole, or it is not there.
6. Reports are rendered from that run; `auditor report` makes the same bytes of the archived one later.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from auditor import __version__
from auditor.aws.clients import Connection
from auditor.aws.timing import Timing
from auditor.config import Config, effective_toml
from auditor.errors import AuditorError, NothingAuditedError, OutputError
from auditor.formats.findings_json import render_findings_json
from auditor.formats.registry import FORMATS
from auditor.formats.view import ReportView, build_view
from auditor.gather import GatherSettings, Progress, Scope, gather_accounts, read_reports, resolve_scope
from auditor.gather.files import find_reports
from auditor.history import RunWriter, find_run, load_run, write_report
from auditor.history.archive import run_digest
from auditor.inventory import build_snapshot
from auditor.model import (
    AccountFacts,
    AccountResult,
    Coverage,
    NotAudited,
    NotAuditedAccount,
    NotAuditedCode,
    Outcome,
    RunManifest,
    Severity,
)
from auditor.policy import evaluate, gravest_first, summarise
from auditor.tables import Run, Snapshot

log = logging.getLogger(__name__)

RUN_TAKES = timedelta(hours=6)
"""A report made so long after `as_of` was not made in the course of the run."""

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
    started_at = request.timing.now()
    output = Path(request.config.output.folder)
    paths = find_reports(request.report_paths)
    writer = RunWriter(output, request.as_of)
    try:
        scope, results = _gather(request, paths, writer, progress)
        progress.phase("Judging")
        run = _judge(request, scope, results, started_at, writer)
        view = build_view(run, printed_rows=request.config.output.pdf_max_rows)
        policy_toml = effective_toml(request.config)
        folder = writer.finish(run, policy_toml, {"findings.json": render_findings_json(view)})
    except BaseException as error:
        kept = writer.abandon(keep_answers=not paths)
        if kept:
            error.add_note(f"What AWS answered is kept in {kept}.")
        raise
    formats = [chosen.value for chosen in request.config.output.formats]
    try:
        reports = write_reports(view, folder, formats, progress)
    except KeyboardInterrupt as interrupt:
        what = "Interrupted while the reports were written. The run is kept."
        step = f"Write them with `auditor report {folder.name}`."
        raise OutputError(what, where=str(folder), next_step=step) from interrupt
    return AuditOutcome(view, reports, exit_code(view))


def render_stored(
    run: str, output: Path, formats: Sequence[str], progress: Progress, *, pdf_max_rows: int
) -> AuditOutcome:
    """Render a stored run again, without AWS.

    Raises:
        UsageError: there is no such run.
        OutputError: the run cannot be read.
    """
    folder = find_run(run, output)
    view = build_view(load_run(folder), printed_rows=pdf_max_rows)
    reports = write_reports(view, folder, formats, progress)
    return AuditOutcome(view, reports, exit_code(view))


def show_stored(run: str, output: Path) -> AuditOutcome:
    """A stored run with the reports that lie in its folder; raises as `render_stored`."""
    folder = find_run(run, output)
    view = build_view(load_run(folder))
    files = {name: folder / chosen.file_name for name, chosen in FORMATS.items()}
    there = {name: path for name, path in files.items() if path.is_file()}
    return AuditOutcome(view, WrittenReports(folder, there, {}), exit_code(view))


def write_reports(view: ReportView, folder: Path, formats: Iterable[str], progress: Progress) -> WrittenReports:
    """Render the formats into a run's folder; one that fails does not cost the others."""
    chosen = list(dict.fromkeys(formats))
    progress.phase("Writing reports", len(chosen))
    files: dict[str, Path] = {}
    failed: dict[str, AuditorError] = {}
    for name in chosen:
        report = FORMATS[name]
        try:
            files[name] = write_report(folder, report.file_name, report.render(view))
        except OutputError as error:
            failed[name] = error
        except Exception as error:  # the run is archived; a report's defect must not deny it
            log.debug("%s", report.file_name, exc_info=True)
            what = f"The report could not be made, by a defect of auditor ({type(error).__name__}: {error})."
            step = "The run and its other reports are kept; run `auditor report` with -vv and report what it prints."
            failed[name] = OutputError(what, where=report.file_name, next_step=step)
        progress.advance(report.file_name)
    return WrittenReports(folder, files, failed)


def exit_code(view: ReportView) -> int:
    """The contract's exit code of a run: 3 outranks 1."""
    manifest = view.manifest
    fail_on = manifest.fail_on
    if manifest.coverage.not_audited or manifest.summary.has_unknown_verdicts:
        return EXIT_INCOMPLETE
    violated = any(
        finding.outcome == Outcome.NON_COMPLIANT.value and Severity(finding.severity).rank >= fail_on.rank
        for finding in view.findings
    )
    return EXIT_VIOLATIONS if violated else EXIT_OK


# ------------------------------------------------------------------------------------------------- stages


def _gather(
    request: AuditRequest, paths: Sequence[Path], store: RunWriter, progress: Progress
) -> tuple[Scope | None, list[AccountResult]]:
    if paths:
        progress.phase("Reading reports", len(paths))
        return None, _audited(read_reports(paths, store, progress))
    progress.phase("Finding accounts")
    scope = resolve_scope(request.config.accounts, request.only_accounts, request.connection, request.timing)
    progress.phase("Auditing accounts", len(scope.accounts))
    settings = _settings(request, store)
    with closing(gather_accounts(scope.accounts, settings, progress)) as results:
        return scope, _audited(results)


def _audited(results: Iterator[AccountResult]) -> list[AccountResult]:
    """All results; NothingAuditedError where none of them has facts, because an empty report proves nothing."""
    found = list(results)
    refused = _not_audited(found)
    if len(refused) < len(found):
        return found
    first = refused[0]
    others = f" The other {len(refused) - 1} failed too." if len(refused) > 1 else ""
    where = f"account {first.account_id}" if first.account_id.isdigit() else ""
    raise NothingAuditedError(f"{first.reason}{others}", where=where, next_step=first.next_step)


def _judge(
    request: AuditRequest,
    scope: Scope | None,
    results: Sequence[AccountResult],
    started_at: datetime,
    writer: RunWriter,
) -> Run:
    config, policy = request.config, request.config.to_policy()
    snapshot = build_snapshot(results, owner_tags=policy.owner_tags)
    findings = evaluate(snapshot, policy, request.as_of)
    manifest = RunManifest(
        id=writer.claim_id(run_digest(snapshot, gravest_first(findings), policy)),
        as_of=request.as_of,
        started_at=started_at,
        finished_at=request.timing.now(),
        tool_version=__version__,
        caller_arn=scope.caller.arn if scope else None,
        scope=scope.description if scope else f"{len(results)} downloaded credential reports",
        organisation=config.output.organisation or "",
        coverage=_coverage(results, snapshot),
        summary=summarise(findings, snapshot),
        calls=_calls(results, scope),
        policy=policy,
        key_ids=config.gather.key_ids if scope else "none",
        notes=_notes(results, request.as_of),
        fail_on=config.output.fail_on,
    )
    return Run(manifest, snapshot, findings)


def _settings(request: AuditRequest, store: RunWriter) -> GatherSettings:
    config = request.config
    return GatherSettings(
        connection=request.connection,
        policy=config.to_policy(),
        as_of=request.as_of,
        store=store,
        session_name=config.accounts.session_name,
        session_seconds=config.accounts.session_minutes * 60,
        report_wait_seconds=config.gather.report_wait_minutes * 60.0,
        attempts=config.gather.call_attempts,
        accounts_in_flight=config.gather.accounts_in_flight,
        every_key=config.gather.key_ids == "all",
        timing=request.timing,
    )


def _not_audited(results: Iterable[AccountResult]) -> list[NotAuditedAccount]:
    return [
        NotAuditedAccount(
            result.account.id,
            result.account.name,
            result.outcome.code,
            result.outcome.reason,
            result.outcome.next_step,
        )
        for result in sorted(results, key=lambda result: result.account.id)
        if isinstance(result.outcome, NotAudited)
    ]


def _coverage(results: Sequence[AccountResult], snapshot: Snapshot) -> Coverage:
    refused = _not_audited(results)
    return Coverage(
        accounts_in_scope=len(results),
        accounts_audited=len(results) - len(refused),
        not_audited=tuple(refused),
        users=len(snapshot.users),
        keys=int(snapshot.accounts["keys"].sum()),
    )


def _calls(results: Iterable[AccountResult], scope: Scope | None) -> dict[str, int]:
    total: Counter[str] = Counter(scope.calls if scope else {})
    for result in results:
        total.update(result.calls)
    return dict(sorted(total.items()))


def _notes(results: Iterable[AccountResult], as_of: datetime) -> tuple[str, ...]:
    """What a reader of the whole run must know beside its numbers."""
    outcomes = [result.outcome for result in results]
    notes = []
    if any(isinstance(outcome, NotAudited) and outcome.code is NotAuditedCode.INTERRUPTED for outcome in outcomes):
        notes.append("The run was interrupted before every account was done.")
    metas = [outcome.meta for outcome in outcomes if isinstance(outcome, AccountFacts) and outcome.meta]
    newer = [meta for meta in metas if meta.generated_at and meta.generated_at > as_of + RUN_TAKES]
    if newer:
        notes.append(
            f"The facts of {len(newer)} accounts are newer than the instant of judgement: what was changed, deleted or "
            "used in between is judged as it is now, and keys created in between are left out."
        )
    return tuple(notes)
