"""Where frameworks, exemptions and owners stand after a run. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from auditor.model import Clause, Exemption, Outcome, RunManifest, Scope, Severity, Support
from auditor.policy import CONTROLS, Standing, clause_key, describe, scope_words, standing

_WORST_FIRST = [outcome.value for outcome in (Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT)]

SUPPORT_WORDS: Mapping[Support, str] = {
    Support.DIRECT: "direct",
    Support.SUPPORTS: "supports",
    Support.NOT_COVERED: "not covered",
}


@dataclass(frozen=True, slots=True)
class ClauseView:
    """A clause: how far it is covered and why, its exact test, and its verdicts."""

    id: str
    title: str
    control: str
    """The control's title; empty where nothing tests the clause."""
    test: str
    support: str
    reason: str
    source: str
    counts: tuple[tuple[str, int], ...]
    result: str
    tone: str

    def count(self, outcome: str) -> int:
        """Verdicts with this outcome."""
        return dict(self.counts).get(outcome, 0)


@dataclass(frozen=True, slots=True)
class FrameworkView:
    """One edition of a standard, judged by its own numbers."""

    id: str
    title: str
    edition: str
    source: str
    clauses: tuple[ClauseView, ...]
    summary: str
    tone: str

    @property
    def name(self) -> str:
        """Title and edition."""
        return f"{self.title} {self.edition}"


@dataclass(frozen=True, slots=True)
class ExemptionView:
    """An exemption, whether it was in force, and what came of it."""

    id: str
    control: str
    """The control's title."""
    scope: str
    standing: str
    tone: str
    matched: int
    result: str
    reason: str
    owner: str
    approver: str
    ticket: str
    starts_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OwnerView:
    """What one owner has to see to."""

    owner: str
    non_compliant: int
    unknown: int
    exempt: int
    worst: str
    """The gravest severity of a violation; empty without one."""


class Found(Protocol):
    """What is asked of a finding."""

    @property
    def subject(self) -> tuple[object, ...]:
        """What is judged, and by which control."""
        ...

    @property
    def owner_label(self) -> str:
        """Whose it is, or why that is not known."""
        ...

    @property
    def outcome(self) -> str:
        """How it ended."""
        ...

    @property
    def severity(self) -> str:
        """How bad it is."""
        ...


def framework_views(manifest: RunManifest) -> Iterator[FrameworkView]:
    """The run's frameworks in their order."""
    for framework in manifest.policy.frameworks:
        verdicts = manifest.frameworks.get(framework.id, {})
        clauses = tuple(
            _clause(
                clause, verdicts.get(clause_key(clause.id, clause.criterion.control), {}) if clause.criterion else {}
            )
            for clause in framework.clauses
        )
        summary, tone = _summary(clauses)
        source = framework.source
        yield FrameworkView(framework.id, framework.title, framework.edition, source, clauses, summary, tone)


def _clause(clause: Clause, counts: Mapping[str, int]) -> ClauseView:
    result, tone = _result(clause, counts)
    return ClauseView(
        id=clause.id,
        title=clause.title,
        control=CONTROLS[clause.criterion.control].title if clause.criterion else "",
        test=describe(clause.criterion) if clause.criterion else "Nothing here tests it.",
        support=SUPPORT_WORDS[clause.support],
        reason=clause.reason,
        source=clause.source,
        counts=tuple((outcome.value, int(counts.get(outcome.value, 0))) for outcome in Outcome),
        result=result,
        tone=tone,
    )


def _result(clause: Clause, counts: Mapping[str, int]) -> tuple[str, str]:
    """One word for a clause, and its tone. Exempt violations are told: a standard may not know exemptions."""
    if clause.criterion is None:
        return "not covered", "neutral"
    if counts.get(Outcome.NON_COMPLIANT, 0):
        return "fails", "bad"
    if counts.get(Outcome.UNKNOWN, 0):
        return "unknown", "warn"
    if counts.get(Outcome.EXEMPT, 0):
        return "passes with exemptions", "warn"
    return ("passes", "good") if counts.get(Outcome.COMPLIANT, 0) else ("nothing to judge", "neutral")


def _summary(clauses: Iterable[ClauseView]) -> tuple[str, str]:
    """How many clauses came out how, in words, and the worst tone of them."""
    results = Counter(clause.result for clause in clauses)
    order = ("fails", "unknown", "passes with exemptions", "passes", "nothing to judge", "not covered")
    plural = {"fails": "fail", "passes": "pass", "passes with exemptions": "pass with exemptions"}
    said = [f"{n} {word if n == 1 else plural.get(word, word)}" for word in order if (n := results[word])]
    tones = {"fails": "bad", "unknown": "warn", "passes with exemptions": "warn", "passes": "good"}
    worst = next((tones[word] for word in tones if results[word]), "neutral")
    total = sum(results.values())
    return f"Of {total} {'test' if total == 1 else 'tests'}, {', '.join(said)}.", worst


def exemption_views(manifest: RunManifest) -> Iterator[ExemptionView]:
    """The run's exemptions, those that need somebody first."""
    urgency = {Standing.EXPIRED: 0, Standing.EXPIRING: 1, Standing.ACTIVE: 2, Standing.NOT_YET: 3}
    found = [
        (urgency[standing(one, manifest.as_of)], one.expires_at, one.id, one) for one in manifest.policy.exemptions
    ]
    for _, _, _, exemption in sorted(found, key=lambda entry: entry[:3]):
        matched = manifest.exemptions.get(exemption.id, 0)
        where = standing(exemption, manifest.as_of)
        result, tone = _came_of(where, exemption, manifest)
        yield ExemptionView(
            id=exemption.id,
            control=CONTROLS[exemption.control].title,
            scope=scope_words(exemption.scope),
            standing=where.value,
            tone=tone,
            matched=matched,
            result=result,
            reason=exemption.reason,
            owner=exemption.owner,
            approver=exemption.approver,
            ticket=exemption.ticket,
            starts_at=exemption.starts_at,
            expires_at=exemption.expires_at,
        )


def _came_of(where: Standing, exemption: Exemption, manifest: RunManifest) -> tuple[str, str]:
    matched, failing = (counts.get(exemption.id, 0) for counts in (manifest.exemptions, manifest.failing))
    undecided = manifest.undecided.get(exemption.id, 0)
    verdicts = "verdict" if undecided == 1 else "verdicts"
    more = f"; of {undecided:,} more {verdicts} it cannot be told" if undecided else ""
    is_open = bool(undecided) or may_be_elsewhere(exemption.scope, manifest)

    def many(number: int) -> str:
        return f"{number:,} {'violation' if number == 1 else 'violations'}"

    match where:
        case Standing.EXPIRED if failing or is_open:
            return f"{many(failing)} now failing{more}", "bad" if failing else "warn"
        case Standing.EXPIRED:
            return "nothing fails for it: remove it", "neutral"
        case Standing.NOT_YET:
            return f"will excuse {many(failing)}{more}", "neutral"
        case _ if not matched and not is_open:
            return "matched nothing: remove it, or correct its scope", "warn"
        case _ if not matched and not undecided:
            return "matched nothing in the accounts that were audited", "neutral"
        case _:
            return f"excuses {many(matched)}{more}", "warn" if more or where is Standing.EXPIRING else "good"


def may_be_elsewhere(scope: Scope, manifest: RunManifest) -> bool:
    """Whether a scope may mean something in an account that was not audited."""
    missing = {account.account_id for account in manifest.coverage.not_audited}
    return bool(missing & set(scope.accounts) if scope.accounts else missing)


def owner_views(findings: Sequence[Found]) -> tuple[OwnerView, ...]:
    """Owners of findings, the most violations first; those without an owner are one of them.

    What the policy and frameworks find of the same by the same control counts once, with its worst outcome.
    """
    worst: dict[tuple[object, ...], Found] = {}
    for finding in findings:
        other = worst.setdefault(finding.subject, finding)
        if _WORST_FIRST.index(finding.outcome) < _WORST_FIRST.index(other.outcome):
            worst[finding.subject] = finding
    counts: dict[str, Counter[str]] = {}
    gravest: dict[str, Severity] = {}
    for finding in worst.values():
        owner = finding.owner_label
        counts.setdefault(owner, Counter())[finding.outcome] += 1
        if finding.outcome == Outcome.NON_COMPLIANT:
            severity = Severity(finding.severity)
            gravest[owner] = max(severity, gravest.get(owner, severity), key=lambda one: one.rank)
    views = [
        OwnerView(
            owner,
            of[Outcome.NON_COMPLIANT],
            of[Outcome.UNKNOWN],
            of[Outcome.EXEMPT],
            gravest[owner].value if owner in gravest else "",
        )
        for owner, of in counts.items()
    ]
    return tuple(sorted(views, key=lambda view: (-view.non_compliant, -view.unknown, view.owner)))
