"""What a person reads in the terminal: errors, progress and the summary. stdout carries the result, stderr the talk."""

import io
import json
import logging
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import AuditorError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from auditor.doctor import Diagnosis
    from auditor.formats.view import FindingView, ReportView
    from auditor.model import NotAuditedAccount, RunManifest
    from auditor.pipeline import AuditOutcome

WIDTH = 100
SLOW = 10.0
"""Seconds from which on an account is worth naming."""

MOST_ACCOUNTS = 20
"""Accounts that the doctor tells of."""

MOST_GROUPS, FEW_NAMES = 10, 5
"""Reasons in the terminal, and the accounts that are named with each; the reports have them all."""

KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
"""Access key ids (AWS: "IAM identifiers"): they stand in the reports, never in the terminal."""

ACCOUNT = "<account>"
"""Stands for the account's id in a reason that several share."""

SETTLED = 2.0
"""Seconds after which a rate says something."""

SILENCE = 30.0
"""Seconds after which a log is told how far a phase is, whatever it has reached."""

TELLING = 20
"""One in so many steps has to be done before a rate is told: the first that end are those that failed."""

PLAIN_STEPS = 20
"""At most so many lines a phase where there is no terminal."""


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: names in AWS belong to others."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def print_error(error: AuditorError) -> None:
    """One paragraph on stderr: where, what, and the next step."""
    said = f"{error.where}: {error.what}" if error.where else error.what
    if "\n" in error.what and error.where:  # a list of problems: each on its own line, below where they are
        said = "\n  ".join((f"{error.where}:", *error.what.splitlines()))
    told = (f"Error: {said}", *getattr(error, "__notes__", ()), error.next_step)
    lines = [
        wrapped
        for line in printable("\n".join(told)).splitlines()
        for wrapped in textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent=line[: len(line) - len(line.lstrip())],
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    with suppress(OSError):
        sys.stderr.write("\n".join(lines).rstrip() + "\n")


def print_json(document: Any) -> None:
    """The answer for a program, on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def set_up_logging(verbose: int) -> None:
    """-v tells what is done, -vv also why things failed. botocore's own log stays off: it can hold secrets."""
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("auditor")
    logger.handlers = [handler]
    logger.setLevel(levels[min(verbose, 2)])
    logger.propagate = False


class ResultStream(io.TextIOWrapper):
    """stdout: where nobody takes the result, that is said once, and `is_lost`.

    A reader that had enough (`| head -1`) is no failure at all. Characters that the terminal's encoding lacks are
    written as escapes.
    """

    is_lost = False
    """Whether what was printed is nowhere."""

    def write(self, text: str) -> int:
        """As any text stream, but a failure is told once and costs nothing but the text."""
        with self._tolerating():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """As `write`."""
        with self._tolerating():
            super().flush()

    @contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if not isinstance(error, BrokenPipeError):
                self.is_lost = True
                step = "Free the place that stdout goes to, or name another; `auditor runs show` prints a run again."
                print_error(AuditorError(f"The result could not be printed ({error.strerror}).", next_step=step))


def is_result_lost() -> bool:
    """Whether what was printed on stdout, and nowhere else, could not be printed."""
    sys.stdout.flush()
    return isinstance(sys.stdout, ResultStream) and sys.stdout.is_lost


def result_stands_in_the_run() -> None:
    """What was printed so far is not lost whatever became of stdout: it lies in the run's folder."""
    sys.stdout.flush()
    if isinstance(sys.stdout, ResultStream):
        sys.stdout.is_lost = False


def open_streams() -> None:
    """Make stdout and stderr fit to print on, whatever the caller made of them.

    A stream that was closed (`>&-`) goes nowhere, and no file opened later takes its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        terminal, encoding = sys.stdout.isatty(), sys.stdout.encoding
        buffer = sys.stdout.detach()
        sys.stdout = ResultStream(buffer, encoding, "backslashreplace", line_buffering=terminal)


# ------------------------------------------------------------------------------------------------- progress


class _Phase:
    """How far a phase is: its steps, how it stands, and how long the rest will take at this rate."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total or 0
        self.done = 0
        self.status = ""
        self._began = time.monotonic()

    def __str__(self) -> str:
        """Status, rate and time left; the latter two once there is something to go by."""
        elapsed = time.monotonic() - self._began
        parts = [self.status]
        if elapsed > SETTLED and self.total <= self.done * TELLING < self.total * TELLING:
            rate = self.done / elapsed
            parts += [
                f"{rate:,.0f}/s" if rate >= 1 else f"{rate * 60:,.0f}/min",
                f"{_left(self.total, rate, self.done)}",
            ]
        return ", ".join(part for part in parts if part)


def _left(total: int, rate: float, done: int) -> str:
    minutes, seconds = divmod(round((total - done) / rate), 60)
    return f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"


class PlainProgress:
    """Lines for a log: the phases, and some of the steps of a long one."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._phase = _Phase()
        self._said_at = time.monotonic()

    def phase(self, name: str, total: int | None = None) -> None:
        """See `auditor.gather.Progress`."""
        self._phase = _Phase(total)
        self.note(f"{name} ({total:,})" if total else name)

    def advance(self, step: str = "") -> None:
        """See `auditor.gather.Progress`."""
        phase = self._phase
        phase.done += 1
        if not phase.total:
            return
        is_short = phase.total <= PLAIN_STEPS
        if is_short or phase.done % (phase.total // PLAIN_STEPS) == 0 or phase.done == phase.total:
            self._tell(step if is_short else "")

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text
        if time.monotonic() - self._said_at > SILENCE:
            self._tell()

    def _tell(self, step: str = "") -> None:
        phase = self._phase
        how_far = f"{phase.done:,} of {phase.total:,}" if phase.total else ""
        told = ", ".join(part for part in (step, str(phase)) if part)
        self.note("  " + "  ".join(part for part in (how_far, told) if part))

    def note(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._said_at = time.monotonic()
        with suppress(OSError):  # nobody reads the progress any more; the run goes on
            sys.stderr.write(printable(text) + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing to put away."""


class SilentProgress(PlainProgress):
    """Says nothing (`-q`)."""

    def note(self, text: str) -> None:
        """Nothing."""


class BarProgress:
    """A bar per phase, on a terminal."""

    def __init__(self) -> None:
        """Start drawing on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}", style="dim", markup=False),
        )
        self._bars = RichProgress(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None
        self._phase = _Phase()
        self._bars.start()

    def phase(self, name: str, total: int | None = None) -> None:
        """See `auditor.gather.Progress`."""
        self._finish()
        self._phase = _Phase(total)
        self._task = self._bars.add_task(name, total=total, step="")

    def advance(self, step: str = "") -> None:
        """See `auditor.gather.Progress`."""
        self._phase.done += 1
        if self._task is not None:
            told = ", ".join(part for part in (str(self._phase), step) if part)
            self._bars.update(self._task, advance=1, step=printable(told))

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text
        if self._task is not None:
            self._bars.update(self._task, step=printable(str(self._phase)))

    def note(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._bars.console.print(printable(text), markup=False, highlight=False)

    def close(self) -> None:
        """Leave the finished bars on the screen and stop drawing."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            total = self._bars.tasks[self._task].total or 1
            self._bars.update(self._task, total=total, completed=total, step="")


def progress_for(*, quiet: bool) -> PlainProgress | BarProgress:
    """A bar on a terminal, lines elsewhere, nothing with -q."""
    if quiet:
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


# ------------------------------------------------------------------------------------------------- checkup

LABEL = 9
"""Columns that `problem` and its like take."""

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def print_diagnosis(diagnosis: "Diagnosis") -> None:
    """Each check with the next step below it where there is one, accounts up to a number; and what it comes to."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() else WIDTH
    accounts = [check.account_id for check in diagnosis.checks if check.account_id]
    left_out = set(accounts[MOST_ACCOUNTS:])
    shown = [check for check in diagnosis.checks if check.account_id not in left_out]
    with console.capture() as written:
        for check in shown:
            text = _filled(f"{check.subject}: {check.found}", width)
            label = (f"{check.health.value:<{LABEL}}", COLOURS[check.health.value])
            console.print(Text.assemble(label, text.lstrip()))
            if check.next_step:
                console.print(Text(_filled(f"Next: {check.next_step}", width), "dim"))
        if left_out:
            console.print(Text(_filled(f"and {len(left_out):,} more accounts; --json names them all.", width)))
        console.print()
        console.print(Text(diagnosis.verdict, "bold"))
    sys.stdout.write(written.get())


def _filled(text: str, width: int) -> str:
    """The text wrapped to the right of the labels."""
    space = " " * LABEL
    return textwrap.fill(
        printable(text),
        width,
        initial_indent=space,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


# ------------------------------------------------------------------------------------------------- summary


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


def _summarise(outcome: "AuditOutcome", console: "Console") -> None:
    from rich.text import Text

    view = outcome.view
    width = console.width if sys.stdout.isatty() else WIDTH

    def say(text: str, style: str = "", indent: int = 0) -> None:
        space = " " * indent
        console.print(Text(textwrap.fill(printable(text), width, initial_indent=space, subsequent_indent=space), style))

    colour = {"good": "green", "warn": "yellow", "bad": "red"}.get(view.tone.value, "")
    console.print()
    say(view.verdict, f"bold {colour}")
    say(view.headline)
    if view.population:
        say(view.population)
    console.print()
    for style, line in _controls(outcome):
        console.print(Text(line, style))
    for line, style, indent in _gaps(view):
        say(line, style, indent=indent)
    if view.manifest.calls:
        console.print()
        for line in _spending(view.manifest):
            say(line, "dim")
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
        same = tuple(text.replace(account.account_id, ACCOUNT) for text in (account.reason, account.next_step))
        alike.setdefault((same[0], same[1]), []).append(account)
    groups = []
    for (reason, step), accounts in sorted(alike.items(), key=lambda item: -len(item[1])):
        first = accounts[0]
        told = (reason, step) if len(accounts) > 1 else (first.reason, first.next_step)
        names = (_named(account.account_name, account.account_id) for account in accounts)
        groups.append((_some(tuple(names)), *told))
    return groups


def _not_known(view: "ReportView") -> list[tuple[str, str, str]]:
    """Verdicts that are unknown for the same reason: in which accounts, how many, why."""
    alike: dict[str, list[FindingView]] = {}
    for finding in view.findings:
        if finding.outcome == "unknown":
            alike.setdefault(_impersonal(finding), []).append(finding)
    groups = []
    for reason, findings in sorted(alike.items(), key=lambda item: -len(item[1])):
        names = dict.fromkeys(_named(finding.account_name, finding.account_id) for finding in findings)
        many = f"{len(findings):,} verdicts are" if len(findings) > 1 else "one verdict is"
        groups.append((_some(tuple(names)), f"{many} unknown. {reason}", ""))
    return groups


def _impersonal(finding: "FindingView") -> str:
    """The reason without whom it is about; what follows a failed call in brackets is known of this key alone."""
    reason = re.sub(r"\)\. .*", ").", finding.reason)
    for said, word in ((finding.user, "<user>"), (finding.account_id, ACCOUNT)):
        reason = re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", word, reason)
    return KEY_ID.sub("<key>", reason)


def _named(name: str | None, account_id: str) -> str:
    return f"{name} ({account_id})" if name else account_id


def _some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    left = len(names) - FEW_NAMES
    return f"{', '.join(names[:FEW_NAMES])} and {left:,} more" if left > 0 else ", ".join(names)


def _spending(manifest: "RunManifest") -> Iterable[str]:
    """What the run took: calls by operation, throttles, retries, and the slowest accounts."""
    by_operation = ", ".join(f"{name} {count:,}" for name, count in manifest.calls.items())
    yield f"AWS calls: {sum(manifest.calls.values()):,} ({by_operation})"
    if manifest.throttles or manifest.retries:
        yield f"Throttled: {manifest.throttles:,}; tried again: {manifest.retries:,}"
    slow = [account for account in manifest.slowest if account.seconds >= SLOW]
    if slow:
        named = ", ".join(
            f"{account.account_name or account.account_id} {account.seconds:.0f} s ({account.calls:,} calls)"
            for account in slow
        )
        yield f"Slowest: {named}"


def _controls(outcome: "AuditOutcome") -> Iterable[tuple[str, str]]:
    """The table of controls as styled lines; those that somebody breaks stand out."""
    yield "dim", f"{'Control':<39}{'severity':<10}{'fails':>7}{'unknown':>9}{'passes':>8}{'not applicable':>16}"
    for control in outcome.view.controls:
        fails, unknown, passes, outside = (
            control.count(name) for name in ("non_compliant", "unknown", "compliant", "not_applicable")
        )
        line = f"{control.title:<39}{control.severity:<10}{fails:>7}{unknown:>9}{passes:>8}{outside:>16}"
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
