"""What remediation did to keys, who approved it and on what evidence, and what is under way. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auditor.formats import words
from auditor.tables import Run, records_of

LATELY = timedelta(days=35)
"""Runs of every first Monday are up to five weeks apart."""

DONE: Mapping[str, str] = {
    "created": "New key made",
    "published": "New key handed over",
    "deactivated": "Switched off",
    "reactivated": "Switched on again",
    "restored": "Old key read again",
    "deleted": "Deleted",
    "discarded": "New key taken back",
}
"""What was done, for people."""

COUNTED: Mapping[str, str] = {
    "published": "rotated",
    "deactivated": "switched off",
    "reactivated": "switched on again",
    "deleted": "deleted",
}
"""What a reader counts; the rest are steps on the way."""


@dataclass(frozen=True, slots=True)
class ActionView:
    """One change; the lines of `approved_by` and `basis` are one a person, and one a finding."""

    at: datetime
    action: str
    account_id: str
    account_name: str | None
    user: str
    access_key_id: str
    old_key_id: str
    owner: str | None
    basis: tuple[str, ...]
    detail: str | None
    evidence: str | None
    plan_id: str | None
    """None for a key that is no plan's, and was switched on again."""
    plan_sha256: str | None
    item_id: str | None
    approved_by: tuple[str, ...]
    done_by: str | None
    intent: str | None
    journal_row: int

    @property
    def what(self) -> str:
        """What was done, in words."""
        return DONE[self.action]

    @property
    def instead_of(self) -> str:
        """The key that this one is to replace; empty where it is the same."""
        return self.old_key_id if self.old_key_id != self.access_key_id else ""

    @property
    def approval(self) -> str:
        """Who approved it, in words."""
        return ", ".join(self.approved_by) or "none needed"


@dataclass(frozen=True, slots=True)
class PendingView:
    """One planned change that is not at its end: where it stands, what it waits for, since when, and who must act."""

    item_id: str
    plan_id: str
    account_id: str
    account_name: str | None
    user: str
    access_key_id: str
    new_key_id: str | None
    owner: str | None
    through: str
    approved: str | None
    state: str
    waits_for: str | None
    since: datetime | None
    until: datetime | None
    who: str | None
    needs_person: bool
    failed: str | None

    @property
    def waits(self) -> str:
        """What for, in words."""
        return self.waits_for or ("until somebody releases it" if self.needs_person else "for the next tick")

    @property
    def whose_turn(self) -> str:
        """Who must act, in words."""
        return self.who or ("a person" if self.needs_person else "nobody")


@dataclass(frozen=True, slots=True)
class RemediationView:
    """What a report tells of remediation. `problem` says why nothing is known, where nothing is."""

    sentence: str
    days: int
    problem: str | None = None
    actions: tuple[ActionView, ...] = ()
    """Of the window before the run, the latest first."""
    earlier: int = 0
    """How many there were before."""
    pending: tuple[PendingView, ...] = ()
    """Those that need a person first, then those that wait longest."""
    rows: int = 0
    head: str = ""

    @property
    def tone(self) -> str:
        """How a reader should feel."""
        is_bad = self.problem is not None or any(item.needs_person for item in self.pending)
        return "warn" if is_bad else "neutral"


def remediation_view(run: Run, window: timedelta) -> RemediationView | None:
    """What was done within a window before the run, and all that is under way; None where nothing ever was."""
    copy, as_of, days = run.manifest.journal, run.manifest.as_of, window.days
    if copy is None:
        return None
    if copy.problem is not None:
        sentence = "What auditor changed is not known: its journal could not be read."
        return RemediationView(sentence, days, problem=copy.problem)
    everything = list(records_of(run.actions))
    actions = [_action(record) for record in everything if record["at"] > as_of - window]
    pending = [PendingView(**record) for record in records_of(run.pending)]
    return RemediationView(
        sentence=_sentence(actions, pending, days),
        days=days,
        actions=tuple(reversed(actions)),
        earlier=len(everything) - len(actions),
        pending=tuple(sorted(pending, key=lambda item: (not item.needs_person, item.since or as_of, item.item_id))),
        rows=copy.rows,
        head=copy.head or "",
    )


def _action(record: Mapping[str, Any]) -> ActionView:
    told = {name: record[name] for name in ActionView.__dataclass_fields__}
    lines = {name: tuple((record[name] or "").splitlines()) for name in ("basis", "approved_by")}
    return ActionView(**{**told, **lines})


def _sentence(actions: Iterable[ActionView], pending: Sequence[PendingView], days: int) -> str:
    """What was done in how many cases, and what waits."""
    counts = Counter(action.action for action in actions)
    done = [f"{counts[name]:,} {said}" for name, said in COUNTED.items() if counts[name]]
    keys = f"keys: {', '.join(done)}" if done else "no key was changed"
    parts = [f"By auditor in the {days} days before, {keys}."]
    if pending:
        urgent = sum(item.needs_person for item in pending)
        waits = f"; {urgent:,} {'waits' if urgent == 1 else 'wait'} for a person" if urgent else ""
        is_or_are = "is" if len(pending) == 1 else "are"
        parts.append(f"{words.counted(len(pending), 'change')} {is_or_are} under way{waits}.")
    return " ".join(parts)
