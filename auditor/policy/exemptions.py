"""Violations that are excused: by whom, why and until when is told, and nothing outside the scope changes.

Only what is non-compliant can be exempt. What is unknown stays unknown: an exemption excuses a violation, not a gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from auditor.model import Exemption, Outcome, Policy
from auditor.policy.limits import Positions
from auditor.policy.scopes import Rank, Subjects, atoms, of_table, places_of, rank
from auditor.report_columns import Flags
from auditor.tables import JUDGED, Snapshot

SOON = timedelta(days=30)
"""Exemptions that end so soon are told before they do."""


class Standing(StrEnum):
    """Where an exemption stands at an instant."""

    NOT_YET = "not yet in force"
    ACTIVE = "active"
    EXPIRING = "expiring soon"
    EXPIRED = "expired"


def standing(exemption: Exemption, as_of: datetime) -> Standing:
    """It holds from its start up to, and not at, its expiry."""
    if as_of < exemption.starts_at:
        return Standing.NOT_YET
    if as_of >= exemption.expires_at:
        return Standing.EXPIRED
    return Standing.EXPIRING if exemption.expires_at - as_of <= SOON else Standing.ACTIVE


def is_in_force(exemption: Exemption, as_of: datetime) -> bool:
    """Whether it excuses anything at this instant."""
    return standing(exemption, as_of) in {Standing.ACTIVE, Standing.EXPIRING}


def exempted(findings: pd.DataFrame, snapshot: Snapshot, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """The findings, where violations that an exemption in force matches are exempt, with its id, its end and why.

    Where several match, the one whose scope means it most specifically is told, then the one of the lowest id.
    """
    active = [exemption for exemption in policy.exemptions if is_in_force(exemption, as_of)]
    if not active:
        return findings
    rows = _rows(findings, Outcome.NON_COMPLIANT)
    chosen = np.full(len(rows), -1, np.intp)
    subjects, control = _subjects(findings, rows, snapshot)
    for number, matched in _by_rank(active, subjects, control):
        chosen = np.where((chosen < 0) & matched, number, chosen)
    excused, by = rows[chosen >= 0], chosen[chosen >= 0]
    why = np.array([_why(exemption) for exemption in active], object)[by]
    outcome, reason, named = (findings[name].to_numpy(object, copy=True) for name in ("outcome", "reason", "exemption"))
    outcome[excused] = Outcome.EXEMPT.value
    reason[excused] = why + reason[excused]
    named[excused] = np.array([exemption.id for exemption in active], object)[by]
    changed = {"outcome": outcome, "reason": reason, "exemption": named}
    ends = np.array([exemption.expires_at.replace(tzinfo=None) for exemption in active], "datetime64[us]")[by]
    due_at = findings["due_at"].to_numpy("datetime64[us]", copy=True)
    due_at[excused] = ends
    told: dict[str, Any] = {name: pd.array(column, "string") for name, column in changed.items()}
    return findings.assign(**told, due_at=pd.Series(due_at, findings.index).dt.tz_localize("UTC"))


@dataclass(frozen=True, slots=True)
class Matches:
    """Violations that exemptions match, in force or not, by the exemptions' ids, those that match none as well.

    What the policy and frameworks find of the same key or user by the same control is one violation; one that
    frameworks alone find counts, too, for it is excused as well.
    """

    sure: Mapping[str, int] = field(default_factory=dict)
    failing: Mapping[str, int] = field(default_factory=dict)
    """How many of them no exemption excuses."""
    undecided: Mapping[str, int] = field(default_factory=dict)
    """Verdicts of which it cannot be told: they are unknown, or tags or key ids that decide are not known."""
    excused: int = 0
    """Violations that are exempt, each counted once."""


def matches(findings: pd.DataFrame, snapshot: Snapshot, policy: Policy) -> Matches:
    """What the policy's exemptions match among these findings."""
    if not policy.exemptions:
        return Matches()
    rows = _rows(findings, Outcome.NON_COMPLIANT, Outcome.EXEMPT, Outcome.UNKNOWN)
    subjects, control = _subjects(findings, rows, snapshot)
    chosen = findings.take(rows)
    verdict = chosen.groupby(["control", *JUDGED], dropna=False, sort=False).ngroup().to_numpy(np.intp)

    def number(flags: Flags) -> int:
        return len(np.unique(verdict[flags]))

    unknown, exempt, fails = (
        chosen["outcome"].eq(outcome.value).to_numpy(np.bool_)
        for outcome in (Outcome.UNKNOWN, Outcome.EXEMPT, Outcome.NON_COMPLIANT)
    )
    sure, failing, undecided = {}, {}, {}
    for exemption in sorted(policy.exemptions, key=lambda exemption: exemption.id):
        surely, possibly = _matched(exemption, subjects, control)
        sure[exemption.id] = number(surely & ~unknown)
        failing[exemption.id] = number(surely & fails)
        undecided[exemption.id] = number(possibly & (unknown | ~surely))
    return Matches(sure, failing, undecided, number(exempt))


def _rows(findings: pd.DataFrame, *outcomes: Outcome) -> Positions:
    return np.flatnonzero(findings["outcome"].isin([outcome.value for outcome in outcomes]))


def _subjects(findings: pd.DataFrame, rows: Positions, snapshot: Snapshot) -> tuple[Subjects, Sequence[object]]:
    failing = findings.take(rows)
    subjects = of_table(failing, snapshot.users, places_of(snapshot.accounts))
    return subjects, failing["control"].to_numpy(object).tolist()


def _matched(exemption: Exemption, subjects: Subjects, control: Sequence[object]) -> tuple[Flags, Flags]:
    """What the exemption surely, and what it possibly is for."""
    sure, possible = subjects.matching(exemption.scope)
    same: Flags = np.array([name == exemption.control.value for name in control], np.bool_)
    return sure & same, possible & same


def _by_rank(
    exemptions: Sequence[Exemption], subjects: Subjects, control: Sequence[object]
) -> Iterator[tuple[int, Flags]]:
    """The exemptions by number with what each part of their scopes matches, the most specific part first."""
    places = tuple(subjects.places.values())
    parts = [
        (number, replace(exemption, scope=atom))
        for number, exemption in enumerate(exemptions)
        for atom in atoms(exemption.scope)
    ]

    def specific(part: tuple[int, Exemption]) -> tuple[Rank, str]:
        return tuple(-number for number in rank(part[1].scope, places)), part[1].id

    for number, part in sorted(parts, key=specific):
        yield number, _matched(part, subjects, control)[0]


def _why(exemption: Exemption) -> str:
    until = exemption.expires_at.date().isoformat()
    said = f"approved by {exemption.approver}, {exemption.ticket}"
    return f"Exempt until {until} by {exemption.id} ({said}): {exemption.reason.rstrip('.')}. Without it: "
