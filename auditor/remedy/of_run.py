"""A plan of what may be done about a run's findings, as AWS shows the users now."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from auditor.errors import UsageError
from auditor.history import done_accounts, load_manifest
from auditor.history.raw import read_result
from auditor.judging import Kept
from auditor.model import AccountFacts, KeyStatus, Outcome
from auditor.remediation.plan import Kind, Plan, days
from auditor.remediation.planning import Candidate, candidates_of, plan_items
from auditor.remedy.accounts import Accounts
from auditor.remedy.drafting import Origin, Population, drafted, look, settings_of
from auditor.remedy.means import Means

OLDEST_RUN = timedelta(hours=24)
"""A plan rests on a run that is no older: what is older is judged anew first."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """An account of a run: what it found, and how many keys there are active, and in use."""

    id: str
    candidates: tuple[Candidate, ...]
    active_keys: int
    in_use: int


def plan_of_run(
    means: Means, folder: Path, author: str, reach: tuple[frozenset[Kind], Kind], only: Sequence[str] = ()
) -> Plan:
    """A plan of what may be done about a run's findings, as AWS shows the users now; nothing is written in AWS.

    Args:
        means: what it is made with.
        folder: the run's.
        author: who plans, as approvers are named; it may not approve.
        reach: what may be planned, and how far rotated and switched-off keys are taken.
        only: account ids; none means all.

    Raises:
        UsageError: the run is too old, or nobody may approve.
        AwsFailure: AWS does not know the caller.
    """
    manifest, now = load_manifest(folder), means.timing.now()
    if now - manifest.as_of > OLDEST_RUN:
        what = f"The run is of {manifest.as_of:%Y-%m-%d %H:%M}Z; a plan rests on one of the last 24 hours."
        raise UsageError(what, where=folder.name, next_step="Run `auditor audit`, and plan with that run.")
    approvers, accounts = means.approvers(), _accounts(means, folder)
    unknown = sorted(set(only) - accounts.found.keys())
    if unknown:
        step = "`auditor runs show` lists the accounts of a run."
        raise UsageError(f"The run has no account {', '.join(unknown)}.", where=folder.name, next_step=step)
    judged = list(_judged(means, folder, manifest.as_of))
    chosen = [one for account in judged for one in account.candidates if not only or account.id in only]
    active_keys, in_use = sum(one.active_keys for one in judged), {one.id: one.in_use for one in judged}
    settings = settings_of(means, *reach, Population(chosen, active_keys, in_use))
    ledger = means.ledger()
    planned = plan_items(chosen, lambda one: look(means, one, accounts, means.delivery, ledger), settings)
    origin = Origin(
        run_id=manifest.id,
        run_sha256=hashlib.sha256((folder / "run.json").read_bytes()).hexdigest(),
        approvers_sha256=approvers.sha256,
        accounts_read=len(accounts.found),
        accounts_not_read=tuple(account.account_id for account in manifest.coverage.not_audited),
        active_keys=active_keys,
        in_use=in_use,
    )
    return drafted(means, author, planned, settings, origin)


def _accounts(means: Means, folder: Path) -> Accounts:
    """The accounts of a run, to be entered as it did."""
    kept = [read_result(folder, account_id).account for account_id, _ in done_accounts(folder)]
    return means.accounts(replace(account, external_id=means.entry(account.id)[1]) for account in kept)


def _judged(means: Means, folder: Path, as_of: datetime) -> Iterator[_Judged]:
    quiet = as_of - days(means.config.remediation.quiet_days)
    policy = load_manifest(folder).policy
    for account_id, _ in done_accounts(folder):
        kept = Kept.read(folder, [account_id], as_of)
        if not isinstance(kept.results[0].outcome, AccountFacts):
            continue
        facts, findings = kept.judged(policy, as_of)
        failing = findings[findings["by_policy"] & findings["outcome"].eq(Outcome.NON_COMPLIANT.value)]
        since = facts.keys[["user_arn", "slot", "inactive_since"]].drop_duplicates(["user_arn", "slot"])
        rows = failing.merge(since, how="left", on=["user_arn", "slot"]).astype(object)
        for column in rows:
            rows[column] = rows[column].where(rows[column].notna(), None)
        active = facts.keys["key_status"].eq(KeyStatus.ACTIVE.value).fillna(value=False)
        in_use = active & facts.keys["last_used_at"].gt(quiet).fillna(value=False)
        found = candidates_of(
            {
                str(name): value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
                for name, value in row.items()
            }
            for row in rows.to_dict("records")
        )
        yield _Judged(account_id, tuple(found), int(active.sum()), int(in_use.sum()))
