"""The view model: everything that any report says, worked out once, so that no two formats can disagree.

Pure: a `Run` goes in, plain frozen records come out; no file, clock or environment. Formats only lay out and escape.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from auditor.formats import words
from auditor.formats.actions import LATELY, RemediationView, remediation_view
from auditor.formats.forecast import NO_OWNER, ForecastView, forecast_view
from auditor.formats.standing import (
    ExemptionView,
    FrameworkView,
    OwnerView,
    exemption_views,
    framework_views,
    owner_views,
)
from auditor.model import ControlId, Grouping, NotAuditedAccount, Outcome, RunManifest, Severity, Source
from auditor.policy import CONTROLS, NOT_LOOKED_UP, asks, describe_rule, gravest_first
from auditor.tables import FINDINGS, JUDGED, Run, records_of

NOTHING_AHEAD = ForecastView()

SHOWN = (Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT)
"""Outcomes that a report lists one by one, in this order; the others are counted, and stand in the tables."""

PRINTED_ROWS = 1000

AGE_BAND = timedelta(days=30)
AGE_BANDS = 13
"""The last band of the age histogram is open-ended."""


class Tone(StrEnum):
    """How a reader should feel about a number; formats turn it into colour and a word, never colour alone."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of page one."""

    label: str
    value: str
    note: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class FindingView:
    """One verdict with the fields of the contract; times are aware UTC datetimes, missing values None."""

    account_id: str
    account_name: str | None
    user: str
    user_arn: str
    slot: int | None
    access_key_id: str | None
    key_status: str | None
    created_at: datetime | None
    age_days: int | None
    last_used_state: str | None
    last_used_at: datetime | None
    last_used_service: str | None
    last_used_region: str | None
    control: str
    severity: str
    outcome: str
    reason: str
    due_at: datetime | None
    owner: str | None
    description: str | None
    owner_source: str | None = None
    by_policy: bool | None = None
    limit: str | None = None
    frameworks: str | None = None
    """Clauses that the verdict speaks for, as "cis-aws-5.0 1.13", one a line."""
    exemption: str | None = None
    """Its id."""
    rotation_since: datetime | None = None
    credential_id: str | None = None
    service: str | None = None

    @property
    def subject(self) -> tuple[object, ...]:
        """What is judged, and by which control: verdicts of the policy and of frameworks may share it."""
        return (self.control, *(getattr(self, name) for name in JUDGED))

    @property
    def clauses(self) -> tuple[tuple[str, str], ...]:
        """Framework id and clause id of each clause that the verdict speaks for."""
        named = (line.partition(" ") for line in (self.frameworks or "").splitlines())
        return tuple((framework, clause) for framework, _, clause in named)

    @property
    def control_title(self) -> str:
        """The control's title for people; of a verdict that frameworks alone ask for, with their ids."""
        title = CONTROLS[ControlId(self.control)].title
        return title if self.by_policy is not False else f"{title} [{self.asked_by}]"

    @property
    def owner_label(self) -> str:
        """The owner, or why there is none."""
        return self.owner or (NOT_LOOKED_UP if self.owner_source == NOT_LOOKED_UP else NO_OWNER)

    @property
    def askers(self) -> tuple[str, ...]:
        """Who asks for this verdict: the policy, and the clauses of frameworks."""
        own = () if self.by_policy is False else ("the policy",)
        return (*own, *(self.frameworks or "").splitlines())

    @property
    def asked_by(self) -> str:
        """The frameworks that ask for this verdict, by id."""
        return ", ".join(dict.fromkeys(framework for framework, _ in self.clauses))

    @property
    def account(self) -> str:
        """Name and id, or the id alone."""
        return f"{self.account_name} ({self.account_id})" if self.account_name else self.account_id

    @property
    def key(self) -> str:
        """The key as people call it: its id, or its slot while the id is unknown; empty for a verdict on a user."""
        if self.access_key_id or self.credential_id:
            return self.access_key_id or self.credential_id or ""
        return f"slot {self.slot}" if self.slot else ""

    @property
    def last_used(self) -> str:
        """Last use in words: a time and where, "never", "unknown", or empty for a verdict on a user."""
        if self.last_used_state == "used" and self.last_used_at:
            where = " ".join(part for part in (self.last_used_service, self.last_used_region) if part)
            return f"{words.minute(self.last_used_at)}{f' ({where})' if where else ''}"
        return self.last_used_state or ""


@dataclass(frozen=True, slots=True)
class AccountView:
    """One audited account in the coverage section. Ages are in words; counts are numbers."""

    account_id: str
    account_name: str | None
    source: Source
    generated_at: datetime | None
    report_age: str
    users: int
    keys: int
    non_compliant: int
    unknown: int
    root_keys: str
    notes: tuple[str, ...]

    @property
    def account(self) -> str:
        """Name and id, or the id alone."""
        return f"{self.account_name} ({self.account_id})" if self.account_name else self.account_id

    @property
    def source_words(self) -> str:
        """The source for people."""
        return words.SOURCES[self.source]


@dataclass(frozen=True, slots=True)
class ControlView:
    """One control: what it asks with this policy's numbers, and how many keys or users have which outcome."""

    id: str
    title: str
    rule: str
    rationale: str
    remedy: str
    source: str
    documentation: str
    gravity: str
    severity: str
    counts: tuple[tuple[str, int], ...]

    def count(self, outcome: str) -> int:
        """Verdicts with this outcome."""
        return dict(self.counts).get(outcome, 0)


@dataclass(frozen=True, slots=True)
class Band:
    """One bar of the age histogram: active keys in a range of ages; `over` where the age limit is broken."""

    label: str
    keys: int
    over: bool


@dataclass(frozen=True, slots=True)
class ReportView:
    """All that a report says, in the order in which it says it."""

    title: str
    organisation: str
    manifest: RunManifest
    verdict: str
    tone: Tone
    headline: str
    sentences: tuple[str, ...]
    tiles: tuple[Tile, ...]
    not_audited: tuple[NotAuditedAccount, ...]
    population: str
    """How the scope came out of the organisation; empty where no account was left out."""
    accounts: tuple[AccountView, ...]
    worst_accounts: tuple[AccountView, ...]
    controls: tuple[ControlView, ...]
    ages: tuple[Band, ...]
    findings: tuple[FindingView, ...]
    due_soon: tuple[FindingView, ...]
    method: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    """What, who, when: label and value, for the cover and the appendix."""
    frameworks: tuple[FrameworkView, ...] = ()
    exemptions: tuple[ExemptionView, ...] = ()
    owners: tuple[OwnerView, ...] = ()
    """Who has what to do, the most violations first."""
    forecast: ForecastView = NOTHING_AHEAD
    upcoming: tuple[FindingView, ...] = ()
    """What passes now, or is exempt, and falls due within the longest of the forecast's horizons, the soonest first."""
    remediation: RemediationView | None = None
    """What auditor changed itself; None where it never changed anything."""
    group_by: Grouping = Grouping.SEVERITY
    """What the findings on paper are grouped by."""
    printed_rows: int = PRINTED_ROWS
    """The most rows of a list on paper; beyond them the gravest are printed, and a sentence says how many there are."""


def build_view(
    run: Run,
    *,
    printed_rows: int = PRINTED_ROWS,
    group_by: Grouping = Grouping.SEVERITY,
    actions_of: timedelta = LATELY,
) -> ReportView:
    """Work out everything that any report of this finished run says.

    Args:
        run: the run.
        printed_rows: the most rows of a list on paper.
        group_by: what the findings on paper are grouped by.
        actions_of: the time before the run of which changes are told one by one.
    """
    manifest = run.manifest
    remediation = remediation_view(run, actions_of)
    verdict, tone = words.verdict(manifest)
    accounts = tuple(_accounts(run))
    findings = _findings(run, SHOWN)
    return ReportView(
        title="AWS access key report",
        organisation=manifest.organisation,
        manifest=manifest,
        verdict=verdict,
        tone=Tone(tone),
        headline=words.headline(manifest),
        sentences=(*words.sentences(manifest), *([remediation.sentence] if remediation else ())),
        tiles=tuple(_tiles(run)),
        not_audited=manifest.coverage.not_audited,
        population=words.population(manifest),
        accounts=accounts,
        worst_accounts=_worst(accounts),
        controls=tuple(_controls(manifest)),
        ages=tuple(_ages(run)),
        findings=findings,
        due_soon=_due_soon(run),
        method=words.method(manifest),
        facts=words.facts(manifest),
        frameworks=tuple(framework_views(manifest)),
        exemptions=tuple(exemption_views(manifest)),
        owners=owner_views(findings),
        forecast=forecast_view(run),
        upcoming=tuple(FindingView(**record) for record in records_of(run.upcoming[list(FINDINGS)])),
        remediation=remediation,
        group_by=group_by,
        printed_rows=printed_rows,
    )


# ------------------------------------------------------------------------------------------------- findings


def _findings(run: Run, outcomes: Iterable[Outcome]) -> tuple[FindingView, ...]:
    names = [outcome.value for outcome in outcomes]
    chosen = gravest_first(run.findings[run.findings["outcome"].isin(names)])
    return tuple(FindingView(**record) for record in records_of(chosen[list(FINDINGS)]))


def _due_soon(run: Run) -> tuple[FindingView, ...]:
    """Keys that pass now and will fail within the warning window, the soonest first."""
    findings = run.findings
    horizon = run.manifest.as_of + run.manifest.policy.warning_window
    soon = findings[findings["outcome"].eq(Outcome.COMPLIANT.value) & findings["due_at"].le(horizon)]
    ordered = soon.sort_values(["due_at", "account_id", "user", "slot"], kind="stable")
    return tuple(FindingView(**record) for record in records_of(ordered[list(FINDINGS)]))


# ------------------------------------------------------------------------------------------------- accounts


def _accounts(run: Run) -> Iterable[AccountView]:
    table = run.accounts
    counts = run.verdicts.set_index(["account_id", "outcome"])["verdicts"]
    for record in records_of(table[table["audited"].fillna(value=False).astype(bool)]):
        account_id = record["account_id"]
        yield AccountView(
            account_id=account_id,
            account_name=record["account_name"],
            source=Source(record["source"]),
            generated_at=record["generated_at"],
            report_age=words.report_age(record["generated_at"], run.manifest.as_of, Source(record["source"])),
            users=int(record["users"]),
            keys=int(record["keys"]),
            non_compliant=int(counts.get((account_id, Outcome.NON_COMPLIANT.value), 0)),
            unknown=int(counts.get((account_id, Outcome.UNKNOWN.value), 0)),
            root_keys=words.root_keys(record["root_keys_active"], record["root_keys_present"]),
            notes=tuple(record["notes"].splitlines()) if record["notes"] else (),
        )


def _worst(accounts: Iterable[AccountView], most: int = 8) -> tuple[AccountView, ...]:
    failing = [account for account in accounts if account.non_compliant]
    return tuple(sorted(failing, key=lambda account: (-account.non_compliant, account.account_id))[:most])


# ------------------------------------------------------------------------------------------------- numbers


def _tiles(run: Run) -> Iterable[Tile]:
    manifest, summary, coverage = run.manifest, run.manifest.summary, run.manifest.coverage
    judged = summary.compliant + summary.non_compliant
    rate_note = words.bounds(summary) or f"{summary.compliant} of {judged} judged keys"
    yield Tile("Compliance rate", words.rate(summary.compliance_rate), rate_note, _rate_tone(manifest))
    broken = words.violations(summary)
    failing = f"of {words.counted(coverage.keys, 'access key')}; {words.counted(broken, 'violation')} in all"
    yield Tile("Keys that fail", str(summary.non_compliant), failing, _tone(judged, bad=summary.non_compliant > 0))
    oldest = _oldest(run)
    limit = f"limit: {words.days(manifest.policy.key_age.maximum)}"
    over = oldest is not None and timedelta(days=oldest) >= manifest.policy.key_age.maximum  # as the chart's bands
    oldest_text = "none" if oldest is None else words.counted(oldest, "day")
    yield Tile("Oldest active key", oldest_text, limit, _tone(oldest is not None, bad=over))
    missing = len(coverage.not_audited)
    audited = f"{coverage.accounts_audited} of {coverage.accounts_in_scope}"
    note = f"{missing} not audited" if missing else "all of the scope"
    yield Tile("Accounts audited", audited, note, Tone.WARN if missing else Tone.GOOD)


def _tone(known: object, *, bad: bool) -> Tone:
    """No green tick where there was nothing to judge."""
    if bad:
        return Tone.BAD
    return Tone.GOOD if known else Tone.NEUTRAL


def _rate_tone(manifest: RunManifest) -> Tone:
    rate = manifest.summary.compliance_rate
    if rate is None:
        return Tone.NEUTRAL
    if rate < 1:
        return Tone.BAD
    return Tone.GOOD if manifest.is_complete else Tone.WARN


def _oldest(run: Run) -> int | None:
    return None if run.ages.empty else int(run.ages["age_days"].max())


def _ages(run: Run) -> Iterable[Band]:
    bands = run.ages.groupby((run.ages["age_days"] // AGE_BAND.days).clip(upper=AGE_BANDS - 1))["keys"].sum()
    limit = run.manifest.policy.key_age.maximum
    width = AGE_BAND.days
    for position in range(AGE_BANDS):
        low = position * width
        label = f"{low}+" if position == AGE_BANDS - 1 else f"{low}-{low + width}"
        yield Band(label, int(bands.get(position, 0)), over=low * timedelta(days=1) >= limit)


def _controls(manifest: RunManifest) -> Iterable[ControlView]:
    for control in CONTROLS.values():
        if not asks(manifest.policy, control.id):
            continue
        severity = manifest.policy.severities.get(control.id, Severity.LOW)
        counts = manifest.summary.verdicts.get(control.id.value, {})
        yield ControlView(
            id=control.id.value,
            title=control.title,
            rule=describe_rule(control.id, manifest.policy),
            rationale=control.rationale,
            remedy=control.remedy,
            source=control.source,
            documentation=control.documentation,
            gravity=control.gravity,
            severity=severity.value,
            counts=tuple((outcome.value, int(counts.get(outcome.value, 0))) for outcome in Outcome),
        )
