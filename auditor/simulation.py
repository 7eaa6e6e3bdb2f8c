"""What another policy would say of a stored run: its facts judged again, nothing written and AWS not asked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pandas as pd

from auditor.gather import Progress
from auditor.history import done_accounts
from auditor.judging import BATCH, Kept, batches_of
from auditor.model import ControlId, Outcome, Policy
from auditor.policy import Tally, tally
from auditor.tables import JUDGED, plain_texts

SHOWN = 1000
"""Changes that are told one by one; all of them are counted."""

_SUBJECT = (*JUDGED, "control")
_STATED = ("outcome", "reason", "owner")


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict of the policy that would be another; None for an outcome where the control is not judged of it."""

    account_id: str
    user: str
    key: str
    """Access key id, credential id, or slot; empty for a verdict on a user."""
    control: str
    owner: str | None
    before: str | None
    after: str | None
    reason: str
    """Why, under the other policy; under the run's own where that one does not judge it."""


@dataclass
class Simulation:
    """The verdicts under both policies, counted, and those of the policies' own that differ."""

    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    steps: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    """How many verdicts change, by control, outcome before and outcome after."""
    changes: list[Change] = field(default_factory=list)
    """The first of them, by account."""
    unconfirmed: int = 0
    """Violations that only the other policy sees, of keys that were not looked up live when the run was made."""


def simulate(  # noqa: PLR0913, PLR0917 - a run, and two policies each at an instant
    folder: Path, before: Policy, judged_at: datetime, after: Policy, as_of: datetime, progress: Progress
) -> Simulation:
    """Judge the facts of a stored run by its own policy and by another, and tell what would change.

    Args:
        folder: the run's.
        before: the run's policy.
        judged_at: the instant that the run was judged at.
        after: the other policy.
        as_of: the instant to judge at by the other policy.
        progress: told of every account.

    Raises:
        OutputError: an account's files cannot be read back.
    """
    accounts = list(done_accounts(folder))
    progress.phase("Judging", len(accounts))
    found = Simulation()
    for batch in batches_of(accounts, BATCH):
        kept = Kept.read(folder, batch, judged_at)
        facts, own = kept.judged(before, judged_at)
        found.before += tally(own, facts, before)
        facts, other = kept.judged(after, as_of)
        found.after += tally(other, facts, after)
        _compare(own, other, found)
        for account_id in batch:
            progress.advance(account_id)
    return found


def _compare(own: pd.DataFrame, other: pd.DataFrame, found: Simulation) -> None:
    before, after = _by_subject(own), _by_subject(other)
    for subject in dict.fromkeys([*before, *after]):
        was, would_be = before.get(subject), after.get(subject)
        stated = would_be or was
        assert stated is not None
        outcomes = (was and was[0], would_be and would_be[0])
        if outcomes[0] == outcomes[1]:
            continue
        account_id, user, _, slot, key_id, credential_id, _, control, _ = subject
        found.steps[str(control), *outcomes] += 1
        is_new = outcomes[1] == Outcome.NON_COMPLIANT and outcomes[0] in {None, Outcome.COMPLIANT}
        if is_new and slot is not None and key_id is None:
            found.unconfirmed += 1
        if len(found.changes) < SHOWN:
            key = str(key_id or credential_id or (f"slot {slot}" if slot else ""))
            told = (str(account_id), str(user), key, str(control), stated[2], *outcomes, str(stated[1]))
            found.changes.append(Change(*told))


def _by_subject(findings: pd.DataFrame) -> Mapping[tuple[object, ...], tuple[str, str, str | None]]:
    """The policy's own verdicts that matter or may come to: outcome, reason and owner by what is judged of whom."""
    own = findings[findings["by_policy"] & findings["outcome"].ne(Outcome.NOT_APPLICABLE.value)]
    subjects = zip(*(plain_texts(own[name]) for name in _SUBJECT), strict=True)
    stated = zip(*(plain_texts(own[name]) for name in _STATED), strict=True)
    return dict(zip(_numbered(subjects), stated, strict=True))


def _numbered(subjects: Iterable[tuple[object, ...]]) -> Iterable[tuple[object, ...]]:
    """Each with its number among those of which the same is known."""
    seen = Counter[tuple[object, ...]]()
    for subject in subjects:
        yield (*subject, seen[subject])
        seen[subject] += 1


def verdicts(counts: Mapping[str, Mapping[str, int]], control: ControlId, outcome: Outcome) -> int:
    """Verdicts of a control that ended so."""
    return counts.get(control.value, {}).get(outcome.value, 0)
