"""Questions about a stored run: why a key or user was judged as it was, and by which policy else it could be."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from auditor.config import Values, policy_from_toml
from auditor.errors import UsageError
from auditor.formats.forecast import NO_OWNER
from auditor.formats.words import instant
from auditor.history import TERMS, done_accounts, find_run, holder_of, load_manifest
from auditor.judging import Kept
from auditor.model import Policy
from auditor.policy import NOT_LOOKED_UP, Considered, criteria, explain_limit, of_table, places_of
from auditor.tables import Snapshot, plain_texts


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A stored run: its folder, its policy, and the instant that it was judged at."""

    folder: Path
    policy: Policy
    as_of: datetime
    terms: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A verdict, who asks for it, and the limits that were considered, the most specific first."""

    control: str
    key: str
    outcome: str
    reason: str
    by_policy: bool
    clauses: tuple[str, ...]
    considered: tuple[Considered, ...]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """All verdicts of a run on a user, or on one of its keys."""

    run: str
    as_of: str
    account: str
    user: str
    owner: str
    """Whose it is, or why that is not known."""
    owner_source: str | None
    verdicts: tuple[Explained, ...]

    def document(self) -> dict[str, Any]:
        """As plain values for a program."""
        document = asdict(self)
        for verdict, plain in zip(self.verdicts, document["verdicts"], strict=True):
            plain["considered"] = [
                {
                    "rule": considered.rule.id if considered.rule else None,
                    "limit": str(considered.limit),
                    "scope": considered.scope,
                    "applies": considered.applies.value,
                    "holds": considered.holds,
                }
                for considered in verdict.considered
            ]
        return document


def load_judged(run: str, output: Path) -> JudgedRun:
    """A stored run by id, path, or "latest".

    Raises:
        UsageError: there is no such run.
        OutputError: it cannot be read.
    """
    folder = find_run(run, output)
    manifest = load_manifest(folder)
    return JudgedRun(folder, manifest.policy, manifest.as_of, (folder / TERMS).read_text(encoding="utf-8"))


def other_policy(judged: JudgedRun, given: Values) -> Policy:
    """The run's policy with other values laid over it; UsageError where they are wrong."""
    return policy_from_toml(judged.terms, given)


def inquire(
    run: str, output: Path, *, key_id: str | None = None, user: str | None = None, account_id: str | None = None
) -> Inquiry:
    """Why a run judged a key, or a user with all its keys, as it did.

    Args:
        run: the run's id, path, or "latest".
        output: the folder of the runs.
        key_id: the access key's id; or else
        user: the user's name, and
        account_id: the user's account.

    Raises:
        UsageError: there is no such run, key or user.
        OutputError: the run cannot be read.
    """
    judged = load_judged(run, output)
    holder = holder_of(judged.folder, key_id) if key_id else (account_id or "", user or "")
    if holder is None:
        step = "Ids are known of keys that were looked up: those flagged or due soon. Ask for --user and --account."
        raise UsageError(f"The run knows no access key {key_id}.", where=judged.folder.name, next_step=step)
    account, name = holder
    if account not in {done for done, _ in done_accounts(judged.folder)}:
        what = f"The run has nothing of an account {account}."
        raise UsageError(what, where=judged.folder.name, next_step="`auditor runs list` shows other runs.")
    facts, findings = Kept.read(judged.folder, [account], judged.as_of).judged(judged.policy, judged.as_of)
    mine = findings[findings["user"].eq(name)]
    if key_id:
        of_user = mine["access_key_id"].isna() & mine["slot"].isna()
        mine = mine[mine["access_key_id"].eq(key_id).fillna(value=False) | of_user]
    if mine.empty:
        what = f"The run has no verdict on the user {name} in {account}."
        step = "Give the whole name; capital letters count. findings.json and tables/users.parquet have the names."
        raise UsageError(what, where=judged.folder.name, next_step=step)
    told = list(_plain(mine, "owner", "owner_source"))
    owner, source = next((pair for pair in told if pair[0]), (None, None))
    unread = any(source == NOT_LOOKED_UP for _, source in told)
    verdicts = tuple(_explained(mine, judged.policy, facts))
    at = instant(judged.as_of)
    named = owner or (NOT_LOOKED_UP if unread else NO_OWNER)
    return Inquiry(judged.folder.name, at, account, name, named, source, verdicts)


def _plain(frame: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    yield from zip(*(plain_texts(frame[name]).tolist() for name in names), strict=True)


def _explained(findings: pd.DataFrame, policy: Policy, facts: Snapshot) -> Iterator[Explained]:
    limited = {asked.control.value: asked for asked in criteria(policy) if asked.by_policy and asked.criterion.limit}
    columns = ("control", "outcome", "reason", "by_policy", "frameworks", "access_key_id", "slot", "credential_id")
    for position, row in enumerate(_plain(findings, *columns)):
        control, outcome, reason, by_policy, clauses, key_id, slot, credential = row
        considered: tuple[Considered, ...] = ()
        if by_policy and control in limited:
            subject = of_table(findings.iloc[[position]], facts.users, places_of(facts.accounts))
            considered = explain_limit(policy, limited[control], subject)
        key = key_id or credential or (f"slot {slot}" if slot else "")
        yield Explained(control, key, outcome, reason, bool(by_policy), tuple((clauses or "").splitlines()), considered)
