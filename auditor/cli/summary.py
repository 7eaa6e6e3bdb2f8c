"""What a run came to, on stdout: for a person, or for a program."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from auditor.cli.output import WIDTH, filled, print_json, printable
from auditor.model import NotAuditedCode, Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from auditor.formats.view import FindingView, ReportView
    from auditor.model import NotAuditedAccount, RunManifest, SlowAccount
    from auditor.pipeline import AuditOutcome

SLOW = 10.0
"""Seconds from which on an account is worth naming."""

MANY_CALLS = 50
"""Of one account; so many are made only where users are looked up."""

MOST_GROUPS, FEW_NAMES = 10, 5
"""Reasons in the terminal, and the accounts that are named with each; the reports have them all."""

KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
"""Access key ids (AWS: "IAM identifiers"): they stand in the reports, never in the terminal."""

FAILED_CALL = re.compile(r"\b((?:iam|sts|organizations):\w+): (\w+)")
"""A failed call in a reason: the operation and AWS's code."""

DETAIL = re.compile(rf"({FAILED_CALL.pattern}) \(.*?\)(?=[.;)])")
"""The same with what AWS says of it, which names users."""

ACCOUNT = "<account>"
"""Stands for the account's id in a reason that several share."""


def print_outcome(outcome: "AuditOutcome", *, json: bool) -> None:
    """A run's result on stdout, for a program or for a person."""
    if json:
        print_json(outcome_document(outcome))
    else:
        print_summary(outcome)


def outcome_document(outcome: "AuditOutcome") -> dict[str, Any]:
    """What `--json` prints of an audit: numbers, coverage, the folder and its files."""
    from auditor.history.manifest import manifest_document

    document = manifest_document(outcome.view.manifest)
    reports = outcome.reports
    return {
        "run": document["id"],
        "folder": str(reports.folder),
        "exit_code": outcome.exit_code,
        "headline": outcome.view.headline,
        "as_of": document["as_of"],
        "coverage": document["coverage"],
        "summary": document["summary"],
        "reports": {name: str(path) for name, path in reports.files.items()},
        "failed_reports": {name: str(error) for name, error in reports.failed.items()},
    }


def print_summary(outcome: "AuditOutcome") -> None:
    """The verdict, the controls, what was not audited and what to do, and where the reports are."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    with console.capture() as written:  # rich would end the process on a closed pipe
        _summarise(outcome, console)
    sys.stdout.write(written.get())


def print_resumption(manifest: "RunManifest") -> None:
    """How to have what another try may find out, where there is such."""
    coverage = manifest.coverage
    failed = any(missing.code is not NotAuditedCode.NOT_ACTIVE for missing in coverage.not_audited)
    if manifest.caller_arn and (failed or coverage.audited_in_part):
        text = f"The same command with `--resume {manifest.id}` asks for what is missing, and for nothing else."
        sys.stdout.write(f"\n{filled(text, WIDTH)}\n")


def _summarise(outcome: "AuditOutcome", console: "Console") -> None:
    from rich.text import Text

    view = outcome.view
    width = console.width if sys.stdout.isatty() else WIDTH

    def say(text: str, style: str = "", indent: int = 0) -> None:
        console.print(Text(filled(text, width, indent), style))

    colour = {"good": "green", "warn": "yellow", "bad": "red"}.get(view.tone.value, "")
    console.print()
    say(view.verdict, f"bold {colour}")
    say(view.headline)
    if view.population:
        say(view.population)
    from auditor.formats.words import rule_sentences

    for sentence in rule_sentences(view.manifest):
        say(sentence)
    if view.remediation:
        say(view.remediation.sentence, {"warn": "yellow"}.get(view.remediation.tone, ""))
        say(view.remediation.problem or "")
    console.print()
    for style, line in _controls(outcome):
        console.print(Text(line, style))
    for line, style, indent in _gaps(view):
        say(line, style, indent=indent)
    if view.manifest.calls:
        console.print()
        for line, indent in (*_spending(view.manifest), *_slowness(view.manifest)):
            say(line, "dim", indent=indent)
    console.print()
    _print_paths(console, outcome)


def _gaps(view: "ReportView") -> Iterable[tuple[str, str, int]]:
    """What the run does not know, by reason: lines with their style and indentation."""
    for title, groups in (("Not audited", _not_audited(view)), ("Not known", _not_known(view))):
        if groups:
            yield "", "", 0
            yield title, "bold", 0
        for whose, what, step in groups[:MOST_GROUPS]:
            yield f"{whose}: {what}", "", 2
            if step:
                yield f"Next: {step}", "dim", 4
        if len(groups) > MOST_GROUPS:
            yield f"and {len(groups) - MOST_GROUPS} more reasons; the reports have them all.", "", 2


def _not_audited(view: "ReportView") -> list[tuple[str, str, str]]:
    """Accounts that failed alike: whose, why, and what next. The account's own id stands in no reason of several."""
    alike: dict[tuple[str, str], list[NotAuditedAccount]] = {}
    for account in view.not_audited:
        reason, step = (text.replace(account.account_id, ACCOUNT) for text in (account.reason, account.next_step))
        alike.setdefault((reason, step), []).append(account)
    return [
        (_some([account.account for account in accounts]), reason, step)
        if len(accounts) > 1
        else (accounts[0].account, accounts[0].reason, accounts[0].next_step)
        for (reason, step), accounts in sorted(alike.items(), key=lambda item: -len(item[1]))
    ]


def _not_known(view: "ReportView") -> list[tuple[str, str, str]]:
    """Verdicts that are unknown for the same reason: in which accounts, how many, why, and what next."""
    alike: dict[str, list[FindingView]] = {}
    for finding in view.findings:
        if finding.outcome == Outcome.UNKNOWN:
            alike.setdefault(_impersonal(finding), []).append(finding)
    groups = []
    for reason, findings in sorted(alike.items(), key=lambda item: -len(item[1])):
        number = len({finding.subject for finding in findings})
        many = f"{number:,} verdicts are" if number > 1 else "one verdict is"
        names = dict.fromkeys(finding.account for finding in findings)
        groups.append((_some([*names]), f"{many} unknown. {reason}", _way_out(reason)))
    return [*groups, *_refused_beside(view)]


def _refused_beside(view: "ReportView") -> list[tuple[str, str, str]]:
    """Calls that failed beside the verdicts, such as for the owners: whose, what is not known, and what next."""
    alike: dict[str, list[str]] = {}
    for account in view.accounts:
        for note in account.notes:
            if FAILED_CALL.search(note):
                text = DETAIL.sub(r"\1", note).replace(account.account_id, ACCOUNT)
                alike.setdefault(text, []).append(account.account)
    return [
        (_some(names), note, _way_out(note)) for note, names in sorted(alike.items(), key=lambda item: -len(item[1]))
    ]


def _way_out(reason: str) -> str:
    """What may make unknown verdicts known, beside asking again; empty where nothing else does."""
    from auditor.aws.failures import WIRE_CODES, Kind
    from auditor.inventory import SAME_SECOND, WHICH_KEY

    if SAME_SECOND in reason or WHICH_KEY in reason:
        return "Replace one of the user's keys: the report has no ids, only the second in which a key was created."
    failed = FAILED_CALL.search(reason)
    if not failed:
        return ""
    operation, code = failed.groups()
    is_denied = WIRE_CODES.get(code) is Kind.DENIED
    return f"Allow {operation}; `auditor iam-policy` prints the whole policy." if is_denied else ""


def _impersonal(finding: "FindingView") -> str:
    """The reason without whom it is about; what follows a failed call in brackets is known of this key alone."""
    reason = re.sub(r"\)\. .*", ").", finding.reason).replace(finding.account_id, ACCOUNT)
    name = re.escape(finding.user)  # which may be a word of any sentence: only where AWS names a user
    return KEY_ID.sub("<key>", re.sub(rf"(?<=user )({name})(?!\w)|(?<=/)({name})(?!\w)", "<user>", reason))


def _some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    left = len(names) - FEW_NAMES
    return f"{', '.join(names[:FEW_NAMES])} and {left:,} more" if left > 0 else ", ".join(names)


def _spending(manifest: "RunManifest") -> Iterable[tuple[str, int]]:
    """What the run took: calls by operation, throttles, retries; lines with their indentation."""
    by_operation = ", ".join(f"{name} {count:,}" for name, count in manifest.calls.items())
    yield f"AWS calls: {sum(manifest.calls.values()):,} ({by_operation})", 0
    if manifest.throttles or manifest.retries:
        yield f"Throttled: {manifest.throttles:,}; tried again: {manifest.retries:,}", 0


def _slowness(manifest: "RunManifest") -> Iterable[tuple[str, int]]:
    """The slowest accounts, by what can be done about it; lines with their indentation."""
    alike: dict[str, list[SlowAccount]] = {}
    for account in manifest.slowest:
        if account.seconds >= SLOW:
            alike.setdefault(_remedy(account), []).append(account)
    if alike:
        yield "Slowest:", 0
    for remedy, accounts in alike.items():
        yield ", ".join(map(_took, accounts)), 2
        yield remedy, 4


def _took(account: "SlowAccount") -> str:
    troubles = {"throttled": account.throttles, "tried again": account.retries}
    calls = [f"{account.calls:,} calls", *(f"{count:,} {what}" for what, count in troubles.items() if count)]
    return f"{account.account_name or account.account_id} {account.seconds:.0f} s ({', '.join(calls)})"


def _remedy(account: "SlowAccount") -> str:
    if account.throttles:
        return "Throttled by AWS: audit when others call IAM less, or lower gather.account_calls_per_second."
    if account.retries:
        return "AWS failed, or did not answer, at first: nothing to do, unless it is so in every run."
    if account.calls > MANY_CALLS:
        return "Users were looked up one by one: gather.account_calls_per_second is how fast."
    return (
        "Waited for AWS to make the report (gather.report_wait_minutes is how long at most), or for a turn "
        "(gather.calls_in_flight is how many calls go at once)."
    )


def _controls(outcome: "AuditOutcome") -> Iterable[tuple[str, str]]:
    """The table of controls as styled lines; those that somebody breaks stand out."""
    yield (
        "dim",
        f"{'Control':<42}{'severity':<10}{'fails':>7}{'unknown':>9}{'exempt':>8}{'passes':>8}{'not applicable':>16}",
    )
    for control in outcome.view.controls:
        fails, unknown, exempt, passes, outside = (
            control.count(name) for name in ("non_compliant", "unknown", "exempt", "compliant", "not_applicable")
        )
        line = f"{control.title:<42}{control.severity:<10}{fails:>7}{unknown:>9}{exempt:>8}{passes:>8}{outside:>16}"
        yield "bold" if fails else "", line


def _print_paths(console: "Console", outcome: "AuditOutcome") -> None:
    reports = outcome.reports
    rows: Iterable[tuple[str, str]] = [
        ("Run", str(reports.folder)),
        *((name.upper(), str(path)) for name, path in reports.files.items()),
    ]
    for label, path in rows:
        console.print(f"{label:<5} {printable(path)}", soft_wrap=True)
    for name, error in reports.failed.items():
        console.print(f"{name.upper():<5} not written: {printable(str(error))}", soft_wrap=True)
